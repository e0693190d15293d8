/* SPDX-License-Identifier: Apache-2.0 */
/* Artifacts of the server: the plugin's objects behind handles that do not need a run. */
#include "track/wandb/wandb.h"

#include <stdlib.h>

struct accel_wandb_artifact {
    const accel_wandb_v1_t *table;
    void *state;
};

static accel_status_t make_handle(const accel_wandb_v1_t *table, void *state,
                                  accel_wandb_artifact_t **artifact)
{
    accel_wandb_artifact_t *made = malloc(sizeof(*made));

    if (!made) {
        table->artifact_destroy(state);
        return accel__fail_memory("an artifact", sizeof(*made));
    }
    *made = (accel_wandb_artifact_t){table, state};
    *artifact = made;
    return ACCEL_OK;
}

static accel_status_t check_call(const char *name, accel_wandb_artifact_t **artifact,
                                 const char *call)
{
    if (!artifact)
        return accel__fail(ACCEL_ERR_INVALID, "%s: artifact is NULL", call);
    *artifact = NULL;
    if (!name || !*name)
        return accel__fail(ACCEL_ERR_INVALID, "%s: expected an artifact's name", call);
    return ACCEL_OK;
}

accel_status_t accel_wandb_run_use_artifact(accel_wandb_run_t *run, const char *name,
                                            const char *type, accel_wandb_artifact_t **artifact)
{
    accel_status_t status = check_call(name, artifact, "accel_wandb_run_use_artifact");
    accel__wandb_call_t call;
    void *state = NULL;

    if (status == ACCEL_OK)
        status = accel__wandb_enter(run, "accel_wandb_run_use_artifact", &call);
    if (status != ACCEL_OK)
        return status;
    status = accel__wandb_leave(&call, call.table->artifact_get(call.state, name, type, &state));
    return status == ACCEL_OK ? make_handle(call.table, state, artifact) : status;
}

accel_status_t accel_wandb_artifact_get(const char *name, const char *type,
                                        accel_wandb_artifact_t **artifact)
{
    accel_status_t status = check_call(name, artifact, "accel_wandb_artifact_get");
    const accel_wandb_v1_t *table = NULL;
    void *state = NULL;

    if (status == ACCEL_OK)
        status = accel__wandb_table(&table, "accel_wandb_artifact_get");
    if (status == ACCEL_OK)
        status = table->artifact_get(NULL, name, type, &state);
    return status == ACCEL_OK ? make_handle(table, state, artifact) : status;
}

accel_status_t accel_wandb_run_wait_artifact(accel_wandb_run_t *run, const char *name,
                                             double timeout, accel_wandb_artifact_t **artifact)
{
    accel_wandb_artifact_t *unwanted = NULL;
    accel_status_t status =
        check_call(name, artifact ? artifact : &unwanted, "accel_wandb_run_wait_artifact");
    accel__wandb_call_t call;
    void *state = NULL;

    if (status == ACCEL_OK && !(timeout > 0))
        status = accel__fail(ACCEL_ERR_INVALID,
                             "accel_wandb_run_wait_artifact: the timeout is %g; expected seconds",
                             timeout);
    if (status == ACCEL_OK)
        status = accel__wandb_enter(run, "accel_wandb_run_wait_artifact", &call);
    if (status != ACCEL_OK)
        return status;
    status = accel__wandb_leave(&call, call.table->artifact_logged(call.state, name, &state));
    if (status != ACCEL_OK)
        return status;
    status = call.table->artifact_wait(state, timeout); /* without the run: it goes on */
    if (status == ACCEL_OK && artifact)
        return make_handle(call.table, state, artifact);
    call.table->artifact_destroy(state);
    return status;
}

void accel_wandb_artifact_destroy(accel_wandb_artifact_t *artifact)
{
    if (!artifact)
        return;
    artifact->table->artifact_destroy(artifact->state);
    free(artifact);
}

const accel_artifact_view_t *accel_wandb_artifact_view(const accel_wandb_artifact_t *artifact)
{
    return artifact ? artifact->table->artifact_view(artifact->state) : NULL;
}

const char *accel_wandb_artifact_info(const accel_wandb_artifact_t *artifact, const char *what)
{
    return artifact && what ? artifact->table->artifact_info(artifact->state, what) : NULL;
}

accel_status_t accel_wandb_artifact_download(accel_wandb_artifact_t *artifact,
                                             const accel_wandb_download_options_t *options,
                                             const char **root)
{
    accel_wandb_download_options_t read = {0};
    accel_status_t status;

    if (root)
        *root = NULL;
    if (!artifact)
        return accel__fail(ACCEL_ERR_INVALID, "accel_wandb_artifact_download: artifact is NULL");
    status = accel__options_read(&read, sizeof(read), options, "accel_wandb_download_options_t");
    if (status == ACCEL_OK)
        status = artifact->table->artifact_download(artifact->state, &read);
    if (status == ACCEL_OK && root)
        *root = artifact->table->artifact_info(artifact->state, "root");
    return status;
}
