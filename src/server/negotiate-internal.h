/* SPDX-License-Identifier: BSD-3-Clause
 *
 * negotiate-internal.h: what the files of negotiate.h share.
 */

#ifndef BLKMQ_SERVER_NEGOTIATE_INTERNAL_H
#define BLKMQ_SERVER_NEGOTIATE_INTERNAL_H

#include "server/nbd.h"
#include "server/negotiate.h"

/* The longest option whose data is kept. */
#define MAX_OPTION_BYTES 65536u

/* ---- negotiate.c: what goes out ---- */

/* BYTES more of what is sent, to be filled in.  NULL: no memory, which ends the
 * negotiation when the option is done; until then nothing need be undone. */
uint8_t *negotiation_add (struct negotiation *negotiation, size_t bytes);

/* A reply of TYPE to the option, and the place of its BYTES of data.  NULL as
 * above. */
uint8_t *negotiation_reply (struct negotiation *negotiation, uint32_t type,
                            size_t bytes);

/* A reply of TYPE, an error, with a text that says why. */
void negotiation_refuse (struct negotiation *negotiation, uint32_t type,
                         const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));

/* The state is CLOSE, and this is why. */
void negotiation_close (struct negotiation *negotiation, const char *format,
                        ...) __attribute__ ((format (printf, 2, 3)));

/* ---- negotiate-fields.c ---- */

/* "NBD_OPT_GO", or "option 4711" in BUF. */
const char *option_name (uint32_t option, char *buf, size_t buf_bytes);

/* Or must there be TLS before? */
bool option_is_allowed (const struct negotiation *negotiation);
void option_refuse_without_tls (struct negotiation *negotiation);

/* What is left of an option's data. */
struct fields {
  const uint8_t *p;
  size_t left;
};

/* False: there is not so much. */
bool fields_take_16 (struct fields *fields, uint16_t *value);
bool fields_take_32 (struct fields *fields, uint32_t *value);

/* A length, and as many bytes.  False: it was refused. */
bool fields_take_string (struct negotiation *negotiation, struct fields *fields,
                         const uint8_t **string, uint32_t *bytes);

/* The fields do not fill the option exactly.  False. */
bool option_refuse_length (struct negotiation *negotiation, const char *what);

/* ---- negotiate-options.c ---- */

/* Is the data of it needed for an answer? */
bool option_has_data (uint32_t option);

/* Answer the option of which DATA, priv.option_bytes long, has come.  DATA is
 * NULL if it has none or is not needed. */
void option_answer (struct negotiation *negotiation, const uint8_t *data);

#endif /* BLKMQ_SERVER_NEGOTIATE_INTERNAL_H */
