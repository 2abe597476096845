# bash completion for zstack and zstackd                                   -*- shell-script -*-
# SPDX-License-Identifier: BSD-3-Clause

_zstack_of()
{
	COMPREPLY=($(compgen -W "$1" -- "$cur"))
}

# The words behind "zstack run" up to the program; then the program's own completion.
_zstack_run()
{
	local i=$1

	for ((; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--)
			((i++))
			break
			;;
		-v | --verbose | --no-loopback | --no-link | --supervise | --embedded | --no-huge | --*=*) ;;
		-*) ((i++)) ;;
		*) break ;;
		esac
	done
	if ((i < COMP_CWORD)) && declare -F _command_offset >/dev/null; then
		_command_offset "$i"
	elif ((i < COMP_CWORD)); then
		compopt -o default
	elif [[ $prev == --take || $prev == --leave ]]; then
		_zstack_of "tcp udp bind connect gateway"
	elif [[ $cur == -* && ${COMP_WORDS[i - 1]} != -- ]]; then
		_zstack_of "--service --embedded --take --leave --rules --no-loopback --no-link --supervise --verbose --help --vdev --port
			--addr --gateway --cores --mtu --mem --buffers --no-huge --capture --congestion
			--max-sockets --spin --linger"
	else
		COMPREPLY=($(compgen -c -- "$cur"))
	fi
}

_zstack()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command= i
	local commands="ss stat top addr route neigh apps capture ping run"

	case $prev in
	--socket | --service | --rules | -w)
		compopt -o default
		COMPREPLY=()
		return
		;;
	esac
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--socket) ((i++)) ;;
		-*) ;;
		*)
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	case $command in
	"") _zstack_of "--json --socket --help --version $commands" ;;
	ss)
		if [[ $prev == state ]]; then
			_zstack_of "ESTABLISHED LISTEN SYN-SENT SYN-RECEIVED FIN-WAIT-1 FIN-WAIT-2 TIME-WAIT
				CLOSE-WAIT LAST-ACK CLOSING CLOSED CONNECTED UNCONNECTED"
		else
			_zstack_of "-t -u -l -a -i --json state src dst host sport dport port program"
		fi
		;;
	stat) _zstack_of "-z -i -n --json" ;;
	top) _zstack_of "-i -n --json" ;;
	apps) _zstack_of "-r --json" ;;
	addr | route)
		if [[ $prev == "$command" ]]; then
			_zstack_of "add del --json"
		elif [[ $command == route && $prev == add ]]; then
			_zstack_of "default"
		elif [[ $command == route && ${COMP_WORDS[COMP_CWORD - 2]} =~ ^(add|del)$ ]]; then
			_zstack_of "via"
		fi
		;;
	capture) _zstack_of "-w -c -s --json any arp ip ip6 icmp icmp6 tcp udp host port" ;;
	ping) _zstack_of "-c -i -s -W --json" ;;
	run) _zstack_run $((i + 1)) ;;
	esac
}

_zstackd()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}

	case $prev in
	-c | --capture | --socket)
		compopt -o default
		COMPREPLY=()
		;;
	--congestion) _zstack_of "cubic newreno" ;;
	*)
		_zstack_of "-c --vdev --port --addr --gateway --share --cores --mtu --mem --no-huge --capture
			--congestion --max-sockets --spin --linger --same-node --metrics --telemetry --socket --allow --help --version"
		;;
	esac
}

complete -F _zstack zstack
complete -F _zstackd zstackd
