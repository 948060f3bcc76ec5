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

// The parts that run pods, besides the control plane and a container runtime. The kubelet exists on Linux only.
func init() {
	commands["kube-controller-manager"] = component(controllermanager.NewControllerManagerCommand)
	commands["kube-scheduler"] = component(func() *cobra.Command { return scheduler.NewSchedulerCommand() })
	commands["kubelet"] = component(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) })
	commands["kube-proxy"] = component(proxy.NewProxyCommand)
	commands["coredns"] = coreDNS
}

// component runs a part of Kubernetes as its own main does. It makes the command only to run it, because that registers
// flags.
func component(make func() *cobra.Command) func([]string) int {
	return func(args []string) int {
		command := make()
		command.SetArgs(args)
		return cli.Run(command)
	}
}

// coreDNS runs CoreDNS with only the plugins that answer for Services: coredns -conf COREFILE.
func coreDNS(args []string) int {
	dnsserver.Directives = []string{"ready", "errors", "hosts", "kubernetes"}
	os.Args = append([]string{"coredns"}, args...)
	coremain.Run()
	return 0
}
