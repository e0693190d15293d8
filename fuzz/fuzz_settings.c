/* SPDX-License-Identifier: Apache-2.0 */
/* A settings file from anywhere: taken whole or refused; and `accel login --host` writes into it
 * what is then read. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool begun;
    const accel_item_t arguments[] = {accel_item_string("mode", "offline"), accel_item_end()};
    const accel_tracker_init_t init = {
        .struct_size = sizeof(init), .init_kwargs = arguments, .num_processes = 1};
    accel__wandb_settings_t settings = {0};
    accel_wandb_login_result_t result;
    if (!begun)
        FUZZ_CHECK(setenv("WANDB_CONFIG_DIR", fuzz_begin(), 1) == 0);
    begun = true;
    fuzz_write(fuzz_path("settings"), data, size);
    if (accel__wandb_settings_create(&init, &settings) == ACCEL_OK) {
        accel__wandb_text_t json = {0};
        accel__wandb_settings_json(&settings, &json);
        FUZZ_CHECK(!json.failed);
        accel__wandb_text_free(&json);
        accel_wandb_login_options_t options = {.struct_size = sizeof(options),
                                               .key = "0123456789abcdef0123456789abcdef01234567",
                                               .host = "http://127.0.0.1:1",
                                               .verify = ACCEL_OFF};
        accel_status_t status = accel__wandb_login(&options, &result);
        FUZZ_CHECK(status == ACCEL_OK || memchr(data, 0, size)); /* no text: left as it is */
        accel__wandb_settings_t after = {0};
        FUZZ_CHECK(accel__wandb_settings_create(&init, &after) == ACCEL_OK);
        FUZZ_CHECK(status || !strcmp(after.base_url, "http://127.0.0.1:1"));
        accel__wandb_settings_free(&after);
    }
    accel__wandb_settings_free(&settings);
    return 0;
}
