/* SPDX-License-Identifier: BSD-3-Clause
 *
 * config-file.h: the file of --config, and where in it things stand.  One
 * thread, before others run.
 */

#ifndef BLKMQ_SERVER_CONFIG_FILE_H
#define BLKMQ_SERVER_CONFIG_FILE_H

#include "server/options-internal.h"

/* ---- config-file.c ---- */

#define CONFIG_FILE_MAX_BYTES (UINT32_C (16) << 20)

/* Adds what stands in the file to OPTIONS, VALUES and EXPORTS; VALUES says what
 * the command line outranks.  What is wrong is logged, each line with its
 * number. */
enum options_result config_file_read (struct options *options,
                                      struct option_values *values,
                                      struct exports *exports,
                                      const char *path);

/* The same with a text, of which messages say that it is PATH. */
enum options_result config_file_parse (struct options *options,
                                       struct option_values *values,
                                       struct exports *exports,
                                       const char *path, const char *text,
                                       size_t bytes);

/* ---- config-places.c ---- */

struct config_place {
  const char *section; /* as it stands there: "[export a]" */
  const char *prefix;  /* of messages about the export; "" for all others */
  const char *key;     /* NULL: it is the section's own line */
  const char *value;
  unsigned line;
};

/* Whatever PLACE points to must live as long.  false: no memory. */
bool config_places_add (struct config_places **places,
                        const struct config_place *place);

/* Logs ERROR, which came when all exports were looked at, with the line that it
 * is about.  false: it is about nothing in the file, and was not logged. */
bool config_places_explain (const struct config_places *places,
                            const char *path, const struct blkmq_error *error);

/* NULL is nothing. */
void config_places_free (struct config_places *places);

#endif /* BLKMQ_SERVER_CONFIG_FILE_H */
