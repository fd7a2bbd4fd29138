/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options-tls.c: whether the options of TLS go together.  Nothing is opened.
 * The main thread, before others run.
 */

#include <config.h>

#include "server/log.h"
#include "server/options-internal.h"
#include "text.h"

/* OPTION, as it was given, and WHAT is wrong with it. */
static enum options_result
refuse (const struct option_values *values, unsigned option, const char *what)
{
  struct blkmq_error error;
  struct text text = text_begin_error (&error);

  text_add (&text, "%s", option_rows[option].key.name);
  if (values->strings[option] != NULL) {
    text_add (&text, "=");
    text_add_value (&text, values->strings[option]);
  }
  text_add (&text, ": %s", what);
  log_error ("%s", error.message);
  return OPTIONS_WRONG;
}

/* Whoever gives keys believes that they are used. */
static enum options_result
check_off (const struct option_values *values)
{
  static const unsigned options[] = { OPT_TLS_CERTIFICATES, OPT_TLS_PSK,
                                      OPT_TLS_VERIFY_PEER, OPT_TLS_PRIORITY };

  for (unsigned i = 0; i < sizeof options / sizeof options[0]; i++)
    if (values->strings[options[i]] != NULL || values->numbers[options[i]] != 0)
      return refuse (values, options[i],
                     "TLS is off; say --tls=require as well, or --tls=on if "
                     "clients may do without");
  return OPTIONS_SERVE;
}

bool
options_tls_asks_identity (const struct options *options)
{
  return options->tls == NEGOTIATION_TLS_REQUIRED
         && (options->tls_files.psk != NULL || options->tls_files.verify_peer);
}

enum options_result
options_check_tls (struct options *options, const struct option_values *values)
{
  options->tls = (enum negotiation_tls)values->numbers[OPT_TLS];
  options->tls_files = (struct tls_files){
    .certificates = values->strings[OPT_TLS_CERTIFICATES],
    .psk = values->strings[OPT_TLS_PSK],
    .priority = values->strings[OPT_TLS_PRIORITY],
    .verify_peer = values->numbers[OPT_TLS_VERIFY_PEER] != 0,
  };
  if (options->tls == NEGOTIATION_TLS_OFF)
    return check_off (values);
  if (!values->given[OPT_TLS_CERTIFICATES] && !values->given[OPT_TLS_PSK])
    return refuse (values, OPT_TLS,
                   "there is nothing to show to clients: say "
                   "--tls-certificates=DIR or --tls-psk=FILE");
  if (values->given[OPT_TLS_CERTIFICATES] && values->given[OPT_TLS_PSK])
    return refuse (values, OPT_TLS_PSK,
                   "given with --tls-certificates; one of them is allowed");
  if (values->given[OPT_TLS_PSK] && options->tls_files.verify_peer)
    return refuse (values, OPT_TLS_VERIFY_PEER,
                   "is for --tls-certificates; with --tls-psk every client "
                   "has to know a key");
  return OPTIONS_SERVE;
}
