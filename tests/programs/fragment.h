/* SPDX-License-Identifier: Apache-2.0 */
/* What a fragment of the documentation may use without saying where it comes from: a program's
 * own variables and functions. tests/cli/snippets.py puts this before each. */
#ifndef ACCEL_TESTS_FRAGMENT_H
#define ACCEL_TESTS_FRAGMENT_H

#include <accel/accel.h>
#include <accel/launch.h>
#include <accel/plugin/tracker_v1.h>
#include <accel/torch.h>
#include <accel/wandb.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct net {
    float *weight, *grad_weight;
} net_t;

extern accel_t *accelerator;
extern accel_model_t *model;
extern accel_optimizer_t *optimizer;
extern accel_scheduler_t *scheduler;
extern accel_loader_t *loader;
extern accel_batch_t batch;
extern accel_tracker_t *tracker;
extern accel_artifact_t *artifact;
extern accel_wandb_run_t *run;
extern accel_tracker_class_t my_class;
extern const accel_host_v1_t *the_host;

extern net_t net;
extern int64_t epochs, step;
extern float loss;

float net_forward(net_t *of, const accel_batch_t *on);

accel_status_t csv_create(void *context, const accel_tracker_init_t *init, void **made);
accel_status_t csv_log(void *made, const accel_item_t *values, int64_t at, double timestamp);
accel_status_t csv_flush(void *made);
void csv_destroy(void *made);

#endif
