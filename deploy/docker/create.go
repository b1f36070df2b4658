package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"runtime"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"countersign/deploy"
)

// What the image contract fixes.
const (
	clientPort     nat.Port = "8008/tcp"
	federationPort nat.Port = "8448/tcp"
	caCertPath              = "complement/ca/ca.crt"
	caKeyPath               = "complement/ca/ca.key"
	appServicePath          = "complement/appservice/"
)

// create makes the container of a homeserver and puts the authority's files into it.
func (f *Fleet) create(ctx context.Context, alias, image string) (id string, err error) {
	created, err := f.engine.ContainerCreate(ctx,
		&container.Config{
			Image:        image,
			Env:          f.environ(alias),
			Labels:       f.labelsFor(alias),
			ExposedPorts: nat.PortSet{clientPort: {}, federationPort: {}},
		},
		f.hostConfig(),
		&network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
			f.networkName(): {NetworkID: f.network, Aliases: []string{alias}},
		}},
		nil, f.networkName()+"-"+alias)
	if err != nil {
		return "", deploy.Startf("%s: the Docker engine cannot make a container of %s: %w", alias, image, plain(err))
	}
	contents, err := f.contents()
	if err == nil {
		var files *bytes.Buffer
		if files, err = archive(contents); err == nil {
			err = f.engine.CopyToContainer(ctx, created.ID, "/", files, container.CopyToContainerOptions{})
		}
	}
	if err != nil {
		err := deploy.Startf("%s: the files of the image contract cannot be put into a container of %s: %w", alias, image, plain(err))
		return "", errors.Join(err, remove(ctx, f.engine, created.ID))
	}
	return created.ID, nil
}

// environ is what a container finds in its environment: its name, a deliberate defect for the reference
// homeserver, and what is shared with all containers.
func (f *Fleet) environ(alias string) []string {
	environ := append([]string{"SERVER_NAME=" + alias}, deploy.ServerEnv{Mutant: f.config.Mutant}.Environ()...)
	return append(environ, f.config.SharedEnviron()...)
}

// contents are the files that a container finds: the authority, and the registrations of application
// services.
func (f *Fleet) contents() (map[string][]byte, error) {
	files := map[string][]byte{caCertPath: f.ca.CertPEM(), caKeyPath: f.ca.KeyPEM()}
	registrations, err := f.config.AppServiceFiles()
	for name, content := range registrations {
		files[appServicePath+name] = content
	}
	return files, err
}

func (f *Fleet) hostConfig() *container.HostConfig {
	// The engine chooses free ports, and only this machine can reach them.
	loopback := []nat.PortBinding{{HostIP: "127.0.0.1"}}
	host := &container.HostConfig{
		NetworkMode:  container.NetworkMode(f.networkName()),
		PortBindings: nat.PortMap{clientPort: loopback, federationPort: loopback},
		// Complement grants this, for images that shape their own traffic.
		CapAdd: []string{"NET_ADMIN"},
		Resources: container.Resources{
			NanoCPUs: int64(f.config.ContainerCPUCores * 1e9),
			Memory:   int64(f.config.ContainerMemory),
		},
	}
	if runtime.GOOS == "linux" {
		// Elsewhere the engine runs in a virtual machine that knows the name by itself.
		host.ExtraHosts = []string{peerHost(&f.config) + ":host-gateway"}
	}
	for _, m := range f.config.HostMounts {
		host.Mounts = append(host.Mounts, mount.Mount{
			Type: mount.TypeBind, Source: m.HostPath, Target: m.ContainerPath, ReadOnly: m.ReadOnly,
		})
	}
	return host
}

// archive makes a tar file. Everybody inside the container may read the files, since a homeserver
// need not run as root; the key vouches for nothing outside of this deployment.
func archive(files map[string][]byte) (*bytes.Buffer, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	return &buffer, w.Close()
}
