/* SPDX-License-Identifier: BSD-3-Clause
 *
 * negotiate-fields.c: options by name, and what their data is made of.  One
 * thread at a time for each negotiation.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "server/negotiate-internal.h"

/* ---- the names ---- */

const char *
option_name (uint32_t option, char *buf, size_t buf_bytes)
{
  static const char *const names[] = {
    [NBD_OPT_EXPORT_NAME] = "NBD_OPT_EXPORT_NAME",
    [NBD_OPT_ABORT] = "NBD_OPT_ABORT",
    [NBD_OPT_LIST] = "NBD_OPT_LIST",
    [NBD_OPT_STARTTLS] = "NBD_OPT_STARTTLS",
    [NBD_OPT_INFO] = "NBD_OPT_INFO",
    [NBD_OPT_GO] = "NBD_OPT_GO",
    [NBD_OPT_STRUCTURED_REPLY] = "NBD_OPT_STRUCTURED_REPLY",
    [NBD_OPT_LIST_META_CONTEXT] = "NBD_OPT_LIST_META_CONTEXT",
    [NBD_OPT_SET_META_CONTEXT] = "NBD_OPT_SET_META_CONTEXT",
  };

  if (option < sizeof names / sizeof names[0] && names[option] != NULL)
    return names[option];
  snprintf (buf, buf_bytes, "option %" PRIu32, option);
  return buf;
}

/* ---- the fields of an option ---- */

bool
fields_take_16 (struct fields *fields, uint16_t *value)
{
  if (fields->left < 2)
    return false;
  *value = nbd_get16 (fields->p);
  fields->p += 2;
  fields->left -= 2;
  return true;
}

bool
fields_take_32 (struct fields *fields, uint32_t *value)
{
  if (fields->left < 4)
    return false;
  *value = nbd_get32 (fields->p);
  fields->p += 4;
  fields->left -= 4;
  return true;
}

bool
option_refuse_length (struct negotiation *negotiation, const char *what)
{
  negotiation_refuse (negotiation, NBD_REP_ERR_INVALID, "%" PRIu32 " bytes: %s",
                      negotiation->priv.option_bytes, what);
  return false;
}

bool
fields_take_string (struct negotiation *negotiation, struct fields *fields,
                    const uint8_t **string, uint32_t *bytes)
{
  if (!fields_take_32 (fields, bytes) || *bytes > fields->left)
    return option_refuse_length (negotiation,
                                 "ends before the end of a string");
  if (*bytes > NBD_MAX_STRING_BYTES) {
    negotiation_refuse (negotiation, NBD_REP_ERR_TOO_BIG,
                        "a string of %" PRIu32 " bytes; at most %u are allowed",
                        *bytes, NBD_MAX_STRING_BYTES);
    return false;
  }
  *string = fields->p;
  fields->p += *bytes;
  fields->left -= *bytes;
  return true;
}
