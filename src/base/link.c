/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

void accel__link_init(accel__link_t *head)
{
    *head = (accel__link_t){.previous = head, .next = head};
}

void accel__link_insert(accel__link_t *head, accel__link_t *link, void (*release)(void *),
                        void *object)
{
    *link = (accel__link_t){
        .previous = head->previous, .next = head, .release = release, .object = object};
    head->previous->next = link;
    head->previous = link;
}

void accel__link_remove(accel__link_t *link)
{
    if (!link->next)
        return;
    link->previous->next = link->next;
    link->next->previous = link->previous;
    link->previous = link->next = NULL;
}

/* Last in, first out: what was prepared later may lean on what was prepared before. */
void accel__link_release_after(accel__link_t *head, const accel__link_t *link)
{
    while (head->previous != link)
        head->previous->release(head->previous->object);
}
