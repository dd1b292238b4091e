module github.com/NethermindEth/docker-volumes-snapshotter/pkg/backuptar

go 1.19
