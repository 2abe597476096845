/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The doorbells of a channel (src/chan/bell.h, chan.h "Room"), for spin(1): is a wake-up ever lost?
 * The stack produces N events into a ring of Q, in batches of one or two, rings the application, and
 * sleeps when the ring is full; the application takes what is marked, one by one, tells how far it is
 * whenever it likes, rings the stack each time that more than half a ring was taken since it rang
 * last (chan_pop), and sleeps when the next entry has no mark. Of a batch the second entry is marked
 * first (chan_fill, chan_push). The consumer's index is read once and remembered, as chan_free()
 * does. Exchanges of `armed` are atomic and order everything around them (bell.c says why), so the
 * interleavings that spin tries are all there are.
 *
 * An entry carries the number of its event: it must be the one whose turn it is; and who sees the
 * first of a batch sees all of it.
 *
 * Beside the events come tokens, T in all, at any time. For them alone the stack rings only who armed
 * with 1; an application that needs no token just then arms with 2 ("Trifles"). Here it needs one for
 * every third event.
 *
 * Checked besides: every run ends with all events taken. A lost wake-up would be a run that ends with both
 * asleep, an invalid end state. LOSE_1 to LOSE_5 are the mistakes that the protocol avoids, and the
 * test wants spin to find them.
 */
#define N 9
#define Q 4
#define T 3 /* N / 3 */

bit mark[Q];			      /* shared: the parity of the lap, the first is 1 */
byte event[Q];			      /* shared */
bit more[Q];			      /* shared: the next was made together with it */
byte head;			      /* shared, free-running */
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

/* The lap of entry i, as chan_mark(). */
#define LAP(i) (1 - ((i) / Q) % 2)

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
		:: made + 1 < N && made + 1 - seen < Q ->
			event[made % Q] = made;
			more[made % Q] = 1;
			more[(made + 1) % Q] = 0;
#ifdef LOSE_4
			mark[made % Q] = LAP(made);
			event[(made + 1) % Q] = made + 1;
			mark[(made + 1) % Q] = LAP(made + 1);
#else
			event[(made + 1) % Q] = made + 1;
			mark[(made + 1) % Q] = LAP(made + 1);
			mark[made % Q] = LAP(made);
#endif
			made = made + 2;
			ring(app_armed, app_bell)
		:: made - seen < Q ->
			more[made % Q] = 0;
#ifdef LOSE_5
			mark[made % Q] = LAP(made);
			event[made % Q] = made;
#else
			event[made % Q] = made;
			mark[made % Q] = LAP(made);
#endif
			made++;
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

/* chan_pop() */
inline tell()
{
	head = got;
#ifdef LOSE_2
	if
	:: got - rung > Q -> rung = got; ring(stack_armed, stack_bell)
	:: else -> skip
	fi
#else
	if
	:: got - rung > (Q - 1) / 2 -> rung = got; ring(stack_armed, stack_bell)
	:: else -> skip
	fi
#endif
}

proctype app()
{
	byte got = 0, paid = 0, rung = 0;

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
		:: mark[got % Q] == LAP(got) ->
			assert(event[got % Q] == got);
			assert(!more[got % Q] || mark[(got + 1) % Q] == LAP(got + 1));
			got++;
			/* More of them before it tells, or not. */
			if
			:: got < N && paid == got / 3 -> skip
			:: tell()
			fi
		:: else ->
			tell();
			app_armed = 2;
			if
			:: mark[got % Q] == LAP(got) -> skip
			:: else -> app_bell == 1; app_bell = 0
			fi;
			app_armed = 0
		fi
	od;
	tell();
	assert(head == N)
}

init
{
	run stack();
	run acks();
	run app()
}
