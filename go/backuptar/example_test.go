package backuptar_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/NethermindEth/docker-volumes-snapshotter/pkg/backuptar"
)

// The files for a container with three volumes, and how the snapshotter is started with them.
func Example() {
	dir, err := os.MkdirTemp("", "backuptar")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	archive, config := filepath.Join(dir, "backup.tar"), filepath.Join(dir, "config.yml")

	if err := backuptar.InitBackupTar(archive); err != nil {
		log.Fatal(err)
	}
	err = backuptar.Config{
		Prefix:  "volumes/busy_lewin",
		Volumes: []string{"/home/volume1", "/home/volume2.txt", "/home/volume3"},
		Exclude: []string{"*.tmp"},
	}.Save(config)
	if err != nil {
		log.Fatal(err)
	}
	// docker run --rm --volumes-from busy_lewin \
	//   -v $PWD/backup.tar:/backup.tar -v $PWD/config.yml:/config.yml snapshotter backup

	info, err := os.Stat(archive)
	if err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(config)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("backup.tar: %d bytes\n", info.Size())
	fmt.Printf("%s", text)
	// Output:
	// backup.tar: 1024 bytes
	// prefix: "volumes/busy_lewin"
	// volumes:
	//   - "/home/volume1"
	//   - "/home/volume2.txt"
	//   - "/home/volume3"
	// exclude:
	//   - "*.tmp"
}
