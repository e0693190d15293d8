/* SPDX-License-Identifier: Apache-2.0 */
/* What the fragments of the documentation may use without saying where it comes from: a
 * program's own variables and functions. tests/cli/snippets.py puts it before each. */
#ifndef ACCEL_TESTS_FRAGMENT_H
#define ACCEL_TESTS_FRAGMENT_H

#include <accel/accel.h>
#include <accel/launch.h>
#include <accel/plugin/tracker_v1.h>
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
extern accel_dataset_t *dataset;
extern accel_loader_t *loader, *validation;
extern accel_batch_t batch;
extern accel_tracker_t *tracker;
extern accel_artifact_t *artifact;
extern accel_tensor_t *tensor, *gathered;
extern accel_tracker_class_t my_class;
extern const accel_host_v1_t *the_host;

extern net_t net;
extern int64_t epochs, step, length;
extern float loss, images[60000][28][28];
extern int64_t labels[60000], predictions[64];

void train(const void *images_of_batch, const void *labels_of_batch, int64_t rows);
void predict(const accel_batch_t *of, int64_t *into);
void count(const accel_tensor_t *all);
bool decode(void *context, int64_t index, void *image);
float net_forward(net_t *of, const accel_batch_t *on);

accel_status_t csv_create(void *context, const accel_tracker_init_t *init, void **made);
accel_status_t csv_log(void *made, const accel_item_t *values, int64_t at, double timestamp);
accel_status_t csv_flush(void *made);
void csv_destroy(void *made);

#endif
