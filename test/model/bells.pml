/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The doorbells of a channel (src/chan/bell.h, chan.h "Room"), for spin(1): is a wake-up ever lost?
 * The stack produces N events into a ring of Q, rings the application, and sleeps when the ring is
 * full; the application drains it, rings the stack when it found more than half, and sleeps when it
 * is empty. Each index of the other side is read once and remembered, as chan_ready() and
 * chan_free() do. Exchanges of `armed` are atomic and order everything around them (bell.c says why),
 * so the interleavings that spin tries are all there are.
 *
 * Beside the events come tokens, T in all, at any time. For them alone the stack rings only who armed
 * with 1; an application that needs no token just then arms with 2 ("Trifles"). Here it needs one for
 * every third event.
 *
 * Checked: every run ends with all events taken. A lost wake-up would be a run that ends with both
 * asleep, an invalid end state. LOSE_1 to LOSE_3 are the mistakes that the protocol avoids, and the
 * test wants spin to find them.
 */
#define N 9
#define Q 4
#define T 3 /* N / 3 */

byte tail, head;		      /* shared, free-running */
byte given;			      /* tokens, shared */
byte app_armed;			      /* shared: 0, 1, 2 */
bit stack_armed;		      /* shared */
bit app_bell, stack_bell;	      /* eventfds: not zero */

inline ring(armed, bell)
{
	if
	:: d_step { armed != 0 -> armed = 0; bell = 1 }
	:: d_step { armed == 0 -> skip }
	fi
}

/* The first look and the ringing are two modifications. */
inline ring_trifle(armed, bell)
{
	if
	:: armed == 1 -> ring(armed, bell)
	:: armed != 1 -> skip
	fi
}

proctype stack()
{
	byte made = 0, seen = 0; /* seen: head, as last read */

	do
	:: made == N -> break
	:: made < N ->
		if
		:: made - seen < Q ->
			made++;
			tail = made;
			ring(app_armed, app_bell)
		:: made - seen == Q ->
			seen = head;
			if
			:: made - seen < Q -> skip
			:: made - seen == Q ->
#ifndef LOSE_1
				stack_armed = 1;
				seen = head;
#else
				seen = head;
				stack_armed = 1;
#endif
				if
				:: made - seen < Q -> skip
				:: made - seen == Q -> stack_bell == 1; stack_bell = 0
				fi;
				stack_armed = 0
			fi
		fi
	od
}

/* The stack too, woken by the network at any time. */
proctype acks()
{
	do
	:: given == T -> break
	:: given < T -> given++; ring_trifle(app_armed, app_bell)
	od
}

proctype app()
{
	byte got = 0, seen = 0, paid = 0, n;

	do
	:: got == N && paid == got / 3 -> break
	:: paid < got / 3 ->
		if
		:: given > paid -> paid++
		:: else ->
#ifdef LOSE_3
			app_armed = 2;
#else
			app_armed = 1;
#endif
			if
			:: given > paid -> skip
			:: else -> app_bell == 1; app_bell = 0
			fi;
			app_armed = 0
		fi
	:: got < N && paid == got / 3 ->
		if
		:: seen == got -> seen = tail
		:: else -> skip
		fi;
		n = seen - got;
		if
		:: n > 0 ->
			got = got + n;
			head = got;
#ifdef LOSE_2
			if
			:: n == Q -> ring(stack_armed, stack_bell)
			:: else -> skip
			fi
#else
			if
			:: n > (Q - 1) / 2 -> ring(stack_armed, stack_bell)
			:: else -> skip
			fi
#endif
		:: n == 0 ->
			app_armed = 2;
			seen = tail;
			if
			:: seen != got -> skip
			:: seen == got -> app_bell == 1; app_bell = 0
			fi;
			app_armed = 0
		fi
	od;
	assert(head == N)
}

init
{
	run stack();
	run acks();
	run app()
}
