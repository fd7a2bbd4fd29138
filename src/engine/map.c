/* SPDX-License-Identifier: BSD-3-Clause
 *
 * map.c: which hctxs are for which ios.  Set-up and live updates only.
 */

#include <config.h>

#include <errno.h>

#include "engine/disk.h"
#include "engine/map.h"

/* ---- the maps of a disk ---- */

int
map_check_counts (const struct blkmq_driver *driver, unsigned submit_queues,
                  unsigned poll_queues, struct blkmq_error *error)
{
  if (poll_queues == 0)
    return 0;
  if (driver->poll == NULL)
    return error_set (error, -EINVAL,
                      "poll_queues=%u: driver %s does not poll; must be 0",
                      poll_queues, driver->name);
  if (poll_queues >= MAX_HW_QUEUES
      || submit_queues > MAX_HW_QUEUES - poll_queues)
    return error_set (error, -EINVAL,
                      "poll_queues=%u: contradicts submit_queues=%u; together "
                      "they must be at most %d",
                      poll_queues, submit_queues, MAX_HW_QUEUES);
  return 0;
}

static bool
has (const struct blkmq_queue_map *map, unsigned index)
{
  return index >= map->offset && index - map->offset < map->nr;
}

static int
check_maps (const struct queue_maps *maps, const char *driver,
            unsigned nr_hw_queues, unsigned nr_poll_queues,
            struct blkmq_error *error)
{
  static const char *const names[BLKMQ_NR_HCTX_TYPES] = {
    [BLKMQ_HCTX_TYPE_DEFAULT] = "default",
    [BLKMQ_HCTX_TYPE_READ] = "read",
    [BLKMQ_HCTX_TYPE_POLL] = "poll",
  };
  const struct blkmq_queue_map *others = &maps->type[BLKMQ_HCTX_TYPE_DEFAULT];
  const struct blkmq_queue_map *reads = &maps->type[BLKMQ_HCTX_TYPE_READ];
  const struct blkmq_queue_map *polled = &maps->type[BLKMQ_HCTX_TYPE_POLL];

  for (unsigned t = 0; t < BLKMQ_NR_HCTX_TYPES; t++) {
    const struct blkmq_queue_map *map = &maps->type[t];

    if (map->nr > 0
        && (map->nr > nr_hw_queues || map->offset > nr_hw_queues - map->nr))
      return error_set (error, -EINVAL,
                        "driver=%s: its map_queues has %u hctxs from %u on for "
                        "type %s, but there are %u",
                        driver, map->nr, map->offset, names[t], nr_hw_queues);
  }
  if (others->nr == 0)
    return error_set (error, -EINVAL,
                      "driver=%s: its map_queues leaves no hctx of %u for type "
                      "default",
                      driver, nr_hw_queues);
  if (polled->nr != nr_poll_queues)
    return error_set (error, -EINVAL,
                      "driver=%s: its map_queues has %u hctxs for type poll; "
                      "must be poll_queues=%u",
                      driver, polled->nr, nr_poll_queues);
  for (unsigned i = 0; i < nr_hw_queues; i++) {
    bool is_other = has (others, i) || has (reads, i);

    if (is_other == has (polled, i))
      return error_set (
          error, -EINVAL, "driver=%s: its map_queues has hctx %u of %u %s",
          driver, i, nr_hw_queues,
          is_other ? "for type poll and for another" : "for nothing");
  }
  return 0;
}

int
map_queues (const struct blkmq_driver *driver, void *driver_data,
            unsigned nr_hw_queues, unsigned nr_poll_queues,
            struct queue_maps *maps, struct blkmq_error *error)
{
  unsigned nr_others = nr_hw_queues - nr_poll_queues;

  *maps = (struct queue_maps){ {
      [BLKMQ_HCTX_TYPE_DEFAULT] = { nr_others, 0 },
      [BLKMQ_HCTX_TYPE_POLL] = { nr_poll_queues, nr_others },
  } };
  if (driver->map_queues == NULL)
    return 0;
  driver->map_queues (driver_data, nr_hw_queues, maps->type);
  return check_maps (maps, driver->name, nr_hw_queues, nr_poll_queues, error);
}

enum blkmq_hctx_type
map_type (const struct queue_maps *maps, unsigned index)
{
  for (unsigned t = 0; t < BLKMQ_NR_HCTX_TYPES; t++) {
    if (has (&maps->type[t], index))
      return (enum blkmq_hctx_type)t;
  }
  return BLKMQ_HCTX_TYPE_DEFAULT;
}

/* ---- submitters ---- */

/* Not in turn: a program that opens each connection twice (nbdkit does, for a
 * client that asks before it connects) would use every other hctx only. */
static struct blkmq_hctx *
least_used_locked (struct blkmq_disk *disk, const struct blkmq_queue_map *map)
{
  struct blkmq_hctx *least = disk_hctx (disk, map->offset);

  for (unsigned i = map->offset + 1; i < map->offset + map->nr; i++) {
    if (disk_hctx (disk, i)->nr_submitters < least->nr_submitters)
      least = disk_hctx (disk, i);
  }
  return least;
}

/* One that was bound to an hctx goes back to it when there is one again. */
static struct blkmq_hctx *
choose_locked (struct blkmq_submitter *submitter,
               const struct blkmq_queue_map *map)
{
  struct blkmq_disk *disk = submitter->disk;
  unsigned index = submitter->index;

  if (index == BLKMQ_HCTX_ANY)
    return least_used_locked (disk, map);
  if (!has (map, index))
    index = map->offset + index % map->nr;
  return disk_hctx (disk, index);
}

void
submitter_unbind_locked (struct blkmq_submitter *submitter)
{
  for (unsigned t = 0; t < BLKMQ_NR_HCTX_TYPES; t++) {
    if (submitter->bound[t] != NULL)
      submitter->bound[t]->nr_submitters--;
    submitter->bound[t] = NULL;
  }
}

void
submitter_bind_locked (struct blkmq_submitter *submitter)
{
  struct blkmq_hctx *others = NULL;
  bool has_types = false;

  submitter_unbind_locked (submitter);
  for (unsigned t = 0; t < BLKMQ_NR_HCTX_TYPES; t++) {
    const struct blkmq_queue_map *map = &submitter->disk->maps.type[t];
    struct blkmq_hctx *h = others;

    if (map->nr > 0) {
      h = choose_locked (submitter, map);
      h->nr_submitters++;
      submitter->bound[t] = h;
    }
    if (t == BLKMQ_HCTX_TYPE_DEFAULT)
      others = h;
    has_types |= h != others;
    atomic_store (&submitter->hctxs[t], h);
  }
  atomic_store (&submitter->has_types, has_types);
}
