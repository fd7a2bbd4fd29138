/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options.c: the command line of blkmqd, parsed: values as those of keys are.
 * The main thread, before others run.
 */

#include <config.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/listen.h"
#include "server/log.h"
#include "server/options-internal.h"
#include "text.h"

static enum options_result
wrong_usage (const struct blkmq_error *error)
{
  log_error ("%s", error->message);
  return OPTIONS_WRONG;
}

/* VALUE is NULL for an option that has none. */
static enum options_result
take_value (struct options *options, struct option_values *values,
            unsigned option, const char *value)
{
  const struct blkmq_key *key = &option_rows[option].key;
  bool is_address = option == OPT_UNIX || option == OPT_TCP;
  struct blkmq_error error;
  struct text text;

  if (values->given[option] && !option_rows[option].may_repeat) {
    text = text_begin_error (&error);
    text_add (&text, "%s", key->name);
    if (value != NULL) {
      text_add (&text, "=");
      text_add_value (&text, value);
    }
    text_add (&text, ": given twice; once is allowed");
    return wrong_usage (&error);
  }
  values->given[option] = true;
  if (value == NULL) {
    values->numbers[option] = 1;
    return OPTIONS_SERVE;
  }
  if (key_parse (key, value, &values->numbers[option], &error) < 0
      || (option == OPT_TCP && listeners_check_tcp (value, &error) < 0)
      || options_access_take (options, option, value, &error) < 0)
    return wrong_usage (&error);
  values->strings[option] = value;
  if (is_address)
    options->addresses[options->nr_addresses++]
        = (struct address_option){ option == OPT_TCP, value };
  return OPTIONS_SERVE;
}

/* "KEY=VALUE", or a size alone. */
static enum options_result
take_word (struct options *options, const char *word)
{
  const char *equals = strchr (word, '=');
  struct blkmq_error error = { "" };
  char *key;
  int r;

  if (equals == NULL) {
    r = exports_set (options->exports, "size", word, &error);
    return r < 0 ? wrong_usage (&error) : OPTIONS_SERVE;
  }
  key = strndup (word, (size_t)(equals - word));
  if (key == NULL) {
    log_error ("the command line: out of memory");
    return OPTIONS_WRONG;
  }
  r = exports_set (options->exports, key, equals + 1, &error);
  free (key);
  return r < 0 ? wrong_usage (&error) : OPTIONS_SERVE;
}

static enum options_result
parse (struct options *options, struct option_values *values, int argc,
       char **argv)
{
  struct option names[NR_OPTIONS + 3] = { { 0 } };
  enum options_result result = OPTIONS_SERVE;
  int option;

  for (int i = 0; i < NR_OPTIONS; i++)
    names[i] = (struct option){
      option_rows[i].key.name + 2,
      option_rows[i].value != NULL ? required_argument : no_argument,
      NULL,
      256 + i,
    };
  names[NR_OPTIONS]
      = (struct option){ "help", no_argument, NULL, 256 + OPT_HELP };
  names[NR_OPTIONS + 1]
      = (struct option){ "version", no_argument, NULL, 256 + OPT_VERSION };

  while (result == OPTIONS_SERVE
         && (option = getopt_long (argc, argv, "", names, NULL)) != -1) {
    if (option == 256 + OPT_HELP) {
      options_print_help ();
      return OPTIONS_DONE;
    }
    if (option == 256 + OPT_VERSION) {
      puts ("blkmqd " PACKAGE_VERSION);
      return OPTIONS_DONE;
    }
    if (option == '?') /* getopt has said what is wrong */
      return OPTIONS_WRONG;
    result = take_value (options, values, (unsigned)option - 256, optarg);
  }
  for (int i = optind; i < argc && result == OPTIONS_SERVE; i++)
    result = take_word (options, argv[i]);
  return result == OPTIONS_SERVE ? options_check (options, values) : result;
}

void
options_point_to_help (void)
{
  fputs ("Try 'blkmqd --help'.\n", stderr);
}

enum options_result
options_parse (struct options *options, unsigned nr_passed, int argc,
               char **argv)
{
  enum options_result result;
  struct option_values values;

  *options = (struct options){
    .exports = exports_alloc (),
    .nr_passed = nr_passed,
    .addresses = calloc ((size_t)argc + 1, sizeof (struct address_option)),
  };
  if (options->exports == NULL || options->addresses == NULL) {
    log_error ("the command line: out of memory");
    return OPTIONS_WRONG;
  }
  options_set_defaults (&values);
  result = parse (options, &values, argc, argv);
  if (result == OPTIONS_WRONG)
    options_point_to_help ();
  return result;
}

void
options_free (struct options *options)
{
  access_clear (&options->access);
  exports_free (options->exports);
  free (options->addresses);
}
