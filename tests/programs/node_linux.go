package main

import (
	"context"
	"os"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// What makes pods run, beside the control plane and a container runtime: on Linux only, as the kubelet is.
func init() {
	commands["kube-controller-manager"] = component(controllermanager.NewControllerManagerCommand)
	commands["kube-scheduler"] = component(func() *cobra.Command { return scheduler.NewSchedulerCommand() })
	commands["kubelet"] = component(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) })
	commands["kube-proxy"] = component(proxy.NewProxyCommand)
	commands["coredns"] = coreDNS
}

// component is a part of Kubernetes as its own main runs it. It is made only when it is run: making one registers flags.
func component(make func() *cobra.Command) func([]string) int {
	return func(args []string) int {
		command := make()
		command.SetArgs(args)
		return cli.Run(command)
	}
}

// coreDNS is CoreDNS with those plugins only that answer for Services: coredns -conf COREFILE.
func coreDNS(args []string) int {
	dnsserver.Directives = []string{"ready", "errors", "hosts", "kubernetes"}
	os.Args = append([]string{"coredns"}, args...)
	coremain.Run()
	return 0
}
