#!/bin/sh
# Runs in the node's root folder once kind's own files lie in it: what kind's base image does beside.
set -eu
wants='sysinit.target.wants/systemd-tmpfiles-setup.service multi-user.target.wants/*
  local-fs.target.wants/* sockets.target.wants/*udev* sockets.target.wants/*initctl* basic.target.wants/*'
for unit in $wants; do rm -f /lib/systemd/system/$unit; done
rm -f /etc/systemd/system/*.wants/*
echo ReadKMsg=no >> /etc/systemd/journald.conf
ln -sf /usr/lib/systemd/systemd /sbin/init
systemctl enable kubelet.service containerd.service undo-mount-hacks.service
systemctl mask systemd-binfmt.service

ln -sf /usr/bin/containerd /usr/bin/ctr /usr/local/bin/
cp /usr/lib/cni/* /opt/cni/bin/
for command in kubelet kubeadm kubectl; do ln -sf kubernetes /usr/bin/$command; done
mv /usr/sbin/runc /usr/sbin/runc.real
mv /runc-caps.sh /usr/sbin/runc

# settings that need CAP_SYS_RESOURCE, which the host may not grant
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml
ctr oci spec |
  jq '.hooks.createContainer |= [{path: "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' \
    > /etc/containerd/cri-base.json
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
