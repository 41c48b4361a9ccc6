/* One libnice agent: TRANSPORT SERVER LOCAL USER PASSWORD ROLE.
 *
 * TRANSPORT is how a relay is reached, udp or tcp; the agent then uses nothing else. With `none` it has host candidates
 * only. LOCAL is the address that it binds. ROLE is `ask` or `answer`. It prints its session description, ended by a line
 * with a dot, and reads the other's from its input in the same way. Who asks prints `echoed N`, and each prints the type
 * of its chosen pair. */

#include <agent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 20, COMPONENT = NICE_COMPONENT_TYPE_RTP };

static GMainLoop *loop;
static NiceAgent *agent;
static guint stream;
static gboolean asks;
static guint asked;
static guint8 question[COUNT * 60];

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static gboolean too_late(gpointer unused) {
    (void)unused;
    fail("not within the deadline");
    return FALSE;
}

/* Again and again until the answer comes: the other end may be the slower one. */
static gboolean ask(gpointer unused) {
    (void)unused;
    memset(question, (int)asked, asked * 60);
    nice_agent_send(agent, stream, COMPONENT, asked * 60, (gchar *)question);
    return TRUE;
}

static void arrived(NiceAgent *a, guint s, guint component, guint length, gchar *data, gpointer unused) {
    (void)unused;
    if (!asks) {
        nice_agent_send(a, s, component, length, data);
        return;
    }
    if (length != asked * 60 || memcmp(data, question, length) != 0) {
        return; /* The answer to what was asked twice. */
    }
    if (asked++ == COUNT) {
        printf("echoed %d\n", COUNT);
        fflush(stdout);
        g_main_loop_quit(loop);
        return;
    }
    ask(NULL);
}

static const char *type_of(NiceCandidate *candidate) {
    return candidate->type == NICE_CANDIDATE_TYPE_RELAYED ? "relay" : "direct";
}

static void changed(NiceAgent *a, guint s, guint component, guint state, gpointer unused) {
    (void)unused;
    NiceCandidate *local, *remote;
    if (state == NICE_COMPONENT_STATE_FAILED) {
        fail("no pair of candidates works");
    }
    if (state != NICE_COMPONENT_STATE_READY || asked != 0) {
        return;
    }
    if (!nice_agent_get_selected_pair(a, s, component, &local, &remote)) {
        fail("ready without a pair");
    }
    printf("%s to %s\n", type_of(local), type_of(remote));
    fflush(stdout);
    asked = 1;
    if (asks) {
        ask(NULL);
        g_timeout_add(200, ask, NULL);
    }
}

/* Without a server to ask, all is gathered before the loop runs. */
static void gathered(NiceAgent *a, guint s, gpointer done) {
    (void)a, (void)s;
    *(gboolean *)done = TRUE;
}

static char *read_description(void) {
    GString *text = g_string_new(NULL);
    char line[1024];
    while (fgets(line, sizeof line, stdin) != NULL && strcmp(line, ".\n") != 0) {
        g_string_append(text, line);
    }
    return g_string_free(text, FALSE);
}

int main(int count, char **words) {
    if (count != 7) {
        fail("TRANSPORT SERVER LOCAL USER PASSWORD ROLE");
    }
    char *transport = words[1], *server = words[2], *colon = strrchr(server, ':');
    gboolean relays = strcmp(transport, "none") != 0, done = FALSE;
    asks = strcmp(words[6], "ask") == 0;
    loop = g_main_loop_new(NULL, FALSE);
    agent = nice_agent_new(NULL, NICE_COMPATIBILITY_RFC5245);
    g_object_set(agent, "controlling-mode", asks, "upnp", FALSE, "ice-tcp", FALSE, "force-relay", relays, NULL);
    NiceAddress local;
    nice_address_init(&local);
    if (!nice_address_set_from_string(&local, words[3])) {
        fail("LOCAL is no address");
    }
    nice_agent_add_local_address(agent, &local);
    stream = nice_agent_add_stream(agent, 1);
    nice_agent_set_stream_name(agent, stream, "application");
    if (relays && colon != NULL) {
        NiceRelayType type = strcmp(transport, "tcp") == 0 ? NICE_RELAY_TYPE_TURN_TCP : NICE_RELAY_TYPE_TURN_UDP;
        *colon = 0;
        nice_agent_set_relay_info(agent, stream, COMPONENT, server, (guint)atoi(colon + 1), words[4], words[5], type);
    }
    g_signal_connect(agent, "candidate-gathering-done", G_CALLBACK(gathered), &done);
    g_signal_connect(agent, "component-state-changed", G_CALLBACK(changed), NULL);
    nice_agent_attach_recv(agent, stream, COMPONENT, g_main_loop_get_context(loop), arrived, NULL);
    g_timeout_add_seconds(20, too_late, NULL);
    nice_agent_gather_candidates(agent, stream);
    while (!done) {
        g_main_context_iteration(NULL, TRUE);
    }

    char *description = nice_agent_generate_local_sdp(agent);
    printf("%s.\n", description);
    fflush(stdout);
    char *other = read_description();
    if (nice_agent_parse_remote_sdp(agent, other) <= 0) {
        fail("no candidates in the other's description");
    }
    g_main_loop_run(loop);
    return 0;
}
