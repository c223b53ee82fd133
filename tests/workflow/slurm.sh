#!/usr/bin/env bash
# A Slurm cluster on this machine for tests: one controller and two nodes, all in one folder.
#
#   slurm.sh install            # Debian's packages, as root
#   slurm.sh start FOLDER       # then: export SLURM_CONF=FOLDER/slurm.conf PATH=FOLDER/bin:$PATH
#   slurm.sh stop FOLDER
#
# It needs root, since Slurm starts jobs for other users, but no systemd, no accounting database and
# no control groups, and touches nothing outside FOLDER. FOLDER/jobs.txt lists finished jobs.
set -euo pipefail

PACKAGES="slurmctld slurmd slurm-client munge"
NODES="node1 node2"

install() {
    # the packages' own services stay off: the tests start what they need
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $PACKAGES
}

free_ports() {
    python3 -c '
import socket
sockets = [socket.socket() for _ in range(3)]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))'
}

configure() {
    local folder=$1 controller node1 node2
    read -r controller node1 node2 <<< "$(free_ports)"
    mkdir -p "$folder"/{state,node1,node2}
    head -c 1024 /dev/urandom > "$folder/munge.key"
    chmod 600 "$folder/munge.key"
    cat > "$folder/slurm.conf" <<CONF
ClusterName=satkit
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$controller
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/%n.log
# no control groups: containers rarely may use them
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/jobs.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=1,sched_interval=2
MinJobAge=600
ReturnToService=2
MpiDefault=none
# each node is sold as one core with 8 GB, wherever it runs
SlurmdParameters=config_overrides
NodeName=node1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$node1 CPUs=1 RealMemory=8000
NodeName=node2 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$node2 CPUs=1 RealMemory=8000
PartitionName=test Nodes=node1,node2 Default=YES MaxTime=60 State=UP
CONF
    # Snakemake's job step drops SLURM_CONF; a cluster with its file in /etc/slurm needs no such help
    mkdir -p "$folder/bin"
    printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$folder/slurm.conf" "$(command -v srun)" \
        > "$folder/bin/srun"
    chmod +x "$folder/bin/srun"
}

start() {
    local folder=$1
    configure "$folder"
    export SLURM_CONF=$folder/slurm.conf
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" \
        --seed-file="$folder/munged.seed" 2> "$folder/munged.err"
    slurmctld -c 2> "$folder/slurmctld.err"
    for node in $NODES; do
        slurmd -c -N "$node" 2> "$folder/$node.err"
    done
    for _ in $(seq 60); do
        if [ "$(sinfo --noheader --Node --states=idle 2> /dev/null | wc -l)" = 2 ]; then
            sinfo --Node --long
            return
        fi
        sleep 0.5
    done
    echo "slurm.sh: the nodes did not come up in 30 s; see $folder/*.log" >&2
    tail -n 5 "$folder"/*.log >&2
    stop "$folder"
    exit 1
}

stop() {
    local folder=$1 pid
    export SLURM_CONF=$folder/slurm.conf
    scancel --quiet --user=root 2> /dev/null || true
    for name in node1 node2 slurmctld munged; do
        [ -s "$folder/$name.pid" ] || continue
        pid=$(cat "$folder/$name.pid")
        kill "$pid" 2> /dev/null || continue
        for _ in $(seq 50); do
            kill -0 "$pid" 2> /dev/null || break
            sleep 0.1
        done
        kill -9 "$pid" 2> /dev/null || true
    done
}

case ${1:-} in
    install) install ;;
    start | stop) "$1" "$(realpath -m "${2:?folder}")" ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
