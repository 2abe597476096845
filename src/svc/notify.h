/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a service manager is told, by its protocol: datagrams to the socket that NOTIFY_SOCKET names
 * (sd_notify(3)). Without one nothing happens.
 */
#ifndef ZS_SVC_NOTIFY_H
#define ZS_SVC_NOTIFY_H

void svc_notify(const char *state);

#endif
