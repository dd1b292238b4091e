package backuptar

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestInitDoesNotOpenAFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backup.tar")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, InitBackupTar(path), "not a regular file")
}

func TestInitLeavesAnArchiveAloneThatIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backup.tar")
	write(t, path, make([]byte, 10240))
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	wantError(t, InitBackupTar(path), "in use")
	if size := len(read(t, path)); size != 10240 {
		t.Errorf("%d bytes are left", size)
	}
}

// A file that docker mounted cannot be renamed over. The mount is made by this same test in a child process
// with mount and user namespaces of its own, so that it needs no root and leaves nothing behind.
func TestSaveWritesInPlaceOverAMountPoint(t *testing.T) {
	const child = "BACKUPTAR_TEST_MOUNT"
	if dir := os.Getenv(child); dir != "" {
		saveOverMount(t, dir)
		return
	}
	var output bytes.Buffer
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.Env = append(os.Environ(), child+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		skip(t, "this process may not make a mount namespace: "+err.Error())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("in a mount namespace: %v\n%s", err, output.String())
	}
}

func saveOverMount(t *testing.T, dir string) {
	host := filepath.Join(dir, "host.yml")
	mounted := filepath.Join(dir, "config.yml")
	write(t, host, []byte("prefix: \"a rather long old text that has to be cut\"\n"))
	write(t, mounted, nil)
	if err := syscall.Mount(host, mounted, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := (Config{Prefix: "p"}).Save(mounted); err != nil {
		t.Fatal(err)
	}
	if text := string(read(t, host)); text != "prefix: \"p\"\n" {
		t.Errorf("the mounted file holds %q", text)
	}
	wantOnly(t, dir, "config.yml", "host.yml")
}
