// Command reader reads archives as programs in Go do: with archive/tar, and by the rule of the original
// snapshotter's restore.
//
//	reader list ARCHIVE                   prints the names of the members
//	reader extract ARCHIVE DIR            extracts directories, files, symbolic and hard links
//	reader restore ARCHIVE PREFIX DIR     restores below DIR what the original would restore below /
//	reader digest ARCHIVE...              prints what is in each archive, as one number
package main

import (
	"archive/tar"
	"bufio"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

type volume struct{ id, kind, target string }

func main() {
	var err error
	switch os.Args[1] {
	case "list":
		err = each(os.Args[2], func(header *tar.Header, _ io.Reader) error {
			_, err := fmt.Println(header.Name)
			return err
		})
	case "extract":
		err = each(os.Args[2], func(header *tar.Header, data io.Reader) error {
			return extract(header, data, os.Args[3])
		})
	case "digest":
		for _, archive := range os.Args[2:] {
			hash := fnv.New128a()
			err := each(archive, func(header *tar.Header, data io.Reader) error {
				fmt.Fprintf(hash, "%#v", *header)
				_, err := io.Copy(hash, data)
				return err
			})
			fmt.Printf("%x %v\n", hash.Sum(nil), err)
		}
	case "restore":
		err = restore(os.Args[2], os.Args[3], os.Args[4])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func each(archive string, do func(*tar.Header, io.Reader) error) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	reader := tar.NewReader(file)
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = do(header, reader)
		}
		if err != nil {
			return err
		}
	}
}

func extract(header *tar.Header, data io.Reader, below string) error {
	path := filepath.Join(below, header.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(path, header.FileInfo().Mode())
	case tar.TypeReg:
		return write(path, header, data)
	case tar.TypeSymlink:
		return os.Symlink(header.Linkname, path)
	case tar.TypeLink:
		return os.Link(filepath.Join(below, header.Linkname), path)
	}
	return fmt.Errorf("%s: type %c", header.Name, header.Typeflag)
}

// The original's rule: the list of volumes is PREFIX/volumes-data.yml; to each belongs every member whose name
// starts with PREFIX/ID; a directory is made, a regular file written, and anything else is an error.
func restore(archive, prefix, below string) error {
	var volumes []volume
	err := each(archive, func(header *tar.Header, data io.Reader) error {
		if header.Name == filepath.Join(prefix, "volumes-data.yml") {
			volumes = parse(data)
		}
		return nil
	})
	if err != nil || len(volumes) == 0 {
		return fmt.Errorf("no volumes under %s: %v", prefix, err)
	}
	for _, volume := range volumes {
		start := filepath.Join(prefix, volume.id)
		err := each(archive, func(header *tar.Header, data io.Reader) error {
			if !strings.HasPrefix(header.Name, start) {
				return nil
			}
			path := filepath.Join(below, volume.target, strings.TrimPrefix(header.Name, start))
			switch header.Typeflag {
			case tar.TypeDir:
				return os.MkdirAll(path, header.FileInfo().Mode())
			case tar.TypeReg:
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return err
				}
				return write(path, header, data)
			}
			return fmt.Errorf("unknown type of %s: %c", header.Name, header.Typeflag)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func write(path string, header *tar.Header, data io.Reader) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, header.FileInfo().Mode())
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, data); err != nil {
		return err
	}
	return file.Close()
}

// As much of YAML as a list of flat mappings needs; its double-quoted strings are Go's but for \/ and \e.
func parse(data io.Reader) (volumes []volume) {
	lines := bufio.NewScanner(data)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "- ") {
			volumes = append(volumes, volume{})
		}
		key, value, _ := strings.Cut(strings.TrimLeft(line, "- "), ": ")
		if plain, err := strconv.Unquote(value); err == nil {
			value = plain
		}
		last := &volumes[len(volumes)-1]
		switch key {
		case "id":
			last.id = value
		case "type":
			last.kind = value
		case "target":
			last.target = value
		}
	}
	return volumes
}
