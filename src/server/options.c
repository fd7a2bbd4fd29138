/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options.c: the command line of blkmqd, parsed: values as those of keys are;
 * and what a file adds to it.  The main thread, before others run.
 */

#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/config-file.h"
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

static enum options_result
out_of_memory (void)
{
  log_error ("the command line: out of memory");
  return OPTIONS_WRONG;
}

const char *
options_keep (struct options *options, const char *text)
{
  char **kept
      = reallocarray (options->kept, options->nr_kept + 1, sizeof kept[0]);

  if (kept == NULL)
    return NULL;
  options->kept = kept;
  kept[options->nr_kept] = strdup (text);
  return kept[options->nr_kept] != NULL ? kept[options->nr_kept++] : NULL;
}

static int
add_address (struct options *options, bool is_tcp, const char *value,
             struct blkmq_error *error)
{
  /* One more than there are: the server may need one of its own. */
  struct address_option *addresses = reallocarray (
      options->addresses, options->nr_addresses + 2, sizeof addresses[0]);
  struct text text;

  if (addresses == NULL) {
    text = text_begin_error (error);
    text_add (&text, "%s: out of memory", is_tcp ? "--tcp" : "--unix");
    return -ENOMEM;
  }
  options->addresses = addresses;
  addresses[options->nr_addresses++] = (struct address_option){ is_tcp, value };
  return 0;
}

static int
given_twice (const struct blkmq_key *key, const char *value,
             struct blkmq_error *error)
{
  struct text text = text_begin_error (error);

  text_add (&text, "%s", key->name);
  if (value != NULL) {
    text_add (&text, "=");
    text_add_value (&text, value);
  }
  text_add (&text, ": given twice; once is allowed");
  return -EINVAL;
}

int
options_set (struct options *options, struct option_values *values,
             unsigned option, const char *value, struct blkmq_error *error)
{
  const struct option_row *row = &option_rows[option];
  bool is_address = option == OPT_UNIX || option == OPT_TCP;
  bool outranked = values->outranks_file[option];
  uint64_t number = 1;
  int r = 0;

  if (!outranked && values->given[option] && !row->may_repeat)
    return given_twice (&row->key, value, error);
  if (value != NULL)
    r = key_parse (&row->key, value, &number, error);
  if (r == 0 && option == OPT_TCP)
    r = listeners_check_tcp (value, error);
  if (r < 0 || outranked)
    return r;
  values->given[option] = true;
  values->numbers[option] = number;
  if (row->value == NULL)
    return 0;
  values->strings[option] = value;
  r = options_access_take (options, option, value, error);
  if (r == 0 && is_address)
    r = add_address (options, option == OPT_TCP, value, error);
  return r;
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
  if (key == NULL)
    return out_of_memory ();
  r = exports_set (options->exports, key, equals + 1, &error);
  free (key);
  return r < 0 ? wrong_usage (&error) : OPTIONS_SERVE;
}

/* The command line alone. */
static enum options_result
parse_words (struct options *options, struct option_values *values, int argc,
             char **argv)
{
  struct option names[NR_OPTIONS + 3] = { { 0 } };
  enum options_result result = OPTIONS_SERVE;
  struct blkmq_error error = { "" };
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

  while ((option = getopt_long (argc, argv, "", names, NULL)) != -1) {
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
    if (options_set (options, values, (unsigned)option - 256, optarg, &error)
        < 0)
      return wrong_usage (&error);
  }
  for (int i = optind; i < argc && result == OPTIONS_SERVE; i++)
    result = take_word (options, argv[i]);
  return result;
}

/* What the command line has said counts more. */
static enum options_result
add_file (struct options *options, struct option_values *values)
{
  struct exports *exports = exports_alloc ();
  enum options_result result;
  struct blkmq_error error;

  if (exports == NULL)
    return out_of_memory ();
  memcpy (values->outranks_file, values->given, sizeof values->given);
  result = config_file_read (options, values, exports, options->config_file);
  if (result == OPTIONS_SERVE
      && exports_overlay (exports, options->exports, &error) < 0)
    result = wrong_usage (&error);
  exports_free (options->exports);
  options->exports = exports;
  return result;
}

static void
point_to_help (void)
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
    .addresses = calloc (1, sizeof (struct address_option)),
  };
  if (options->exports == NULL || options->addresses == NULL)
    return out_of_memory ();
  options_set_defaults (&values);
  result = parse_words (options, &values, argc, argv);
  options->config_file = values.strings[OPT_CONFIG];
  if (result == OPTIONS_SERVE && options->config_file != NULL)
    result = add_file (options, &values);
  if (result == OPTIONS_SERVE)
    result = options_check (options, &values);
  if (result == OPTIONS_WRONG && options->config_file == NULL)
    point_to_help ();
  return result;
}

void
options_explain (const struct options *options, const struct blkmq_error *error)
{
  if (config_places_explain (options->places, options->config_file, error))
    return;
  log_error ("%s", error->message);
  point_to_help ();
}

void
options_free (struct options *options)
{
  access_clear (&options->access);
  exports_free (options->exports);
  config_places_free (options->places);
  free (options->addresses);
  for (size_t i = 0; i < options->nr_kept; i++)
    free (options->kept[i]);
  free (options->kept);
}
