/* SPDX-License-Identifier: BSD-3-Clause
 *
 * command.c: the table of commands.
 */

#include <config.h>

#include "ctl/internal.h"

const struct command commands[] = {
  { .name = "exports", .run = command_exports },
  { .name = "show", .run = command_show, .has_export = true },
  { .name = "get",
    .run = command_get,
    .has_export = true,
    .members
    = { { .name = "keys", .type = MEMBER_STRINGS, .required = true } } },
  { .name = "set",
    .run = command_set,
    .has_export = true,
    .blocks = true,
    .members
    = { { .name = "settings", .type = MEMBER_SETTINGS, .required = true } } },
  { .name = "stats",
    .run = command_stats,
    .has_export = true,
    .members = { { .name = "buckets", .type = MEMBER_BOOL } } },
  { .name = "reset-stats", .run = command_reset_stats, .has_export = true },
  { .name = "fault-add",
    .run = command_fault_add,
    .has_export = true,
    .members
    = { { .name = "rule", .type = MEMBER_STRING, .required = true } } },
  { .name = "fault-delete",
    .run = command_fault_delete,
    .has_export = true,
    .members = { { .name = "fault",
                   .type = MEMBER_NUMBER,
                   .required = true,
                   .max = INT64_MAX } } },
  { .name = "fault-list", .run = command_fault_list, .has_export = true },
  { .name = "power",
    .run = command_power,
    .has_export = true,
    .blocks = true,
    .members = { { .name = "on", .type = MEMBER_BOOL, .required = true } } },
  { .name = "freeze",
    .run = command_freeze,
    .has_export = true,
    .blocks = true },
  { .name = "unfreeze", .run = command_unfreeze, .has_export = true },
  { .name = "inflight",
    .run = command_inflight,
    .has_export = true,
    .members
    = { { .name = "max", .type = MEMBER_NUMBER, .max = MAX_INFLIGHT } } },
};

const size_t nr_commands = sizeof commands / sizeof commands[0];
