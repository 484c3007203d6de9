package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/route"
)

// checker collects what is wrong with a configuration, so that people correct
// all of it at once: a node itself stops at the first.
type checker struct {
	cfg    *standard.Config
	report *config.Report
	list   []config.Problem
}

// serviceName is narrower than what addresses allow: one word, as people write it.
var serviceName = regexp.MustCompile(`^[\pL\d][\pL\d._-]{0,99}$`)

// placeInFile is an origin that is file:line:column.
var placeInFile = regexp.MustCompile(`^(.+):(\d+):(\d+)$`)

// login checks how people log in, if they are to.
func (c *checker) login() {
	if reflect.ValueOf(c.cfg.Login).IsZero() {
		return
	}
	for _, err := range c.cfg.Login.Check() {
		e := message.AsError(err)
		c.add("login."+e.Path, e.Message, e.Hint)
	}
}

// content checks what is served as contents.
func (c *checker) content() {
	for _, err := range c.cfg.Content.Check() {
		e := message.AsError(err)
		c.add("content."+e.Path, e.Message, e.Hint)
	}
}

// topics checks those of the configuration.
func (c *checker) topics() {
	for _, err := range c.cfg.CheckTopics() {
		e := message.AsError(err)
		c.add("topics."+e.Path, e.Message, e.Hint)
	}
}

// check returns a [config.Error] with all that is wrong with the values of cfg.
func check(cfg *standard.Config, report *config.Report) error {
	c := &checker{cfg: cfg, report: report}
	c.oneOf("log.level", cfg.Log.Level, "debug", "info", "warn", "error")
	c.oneOf("log.format", cfg.Log.Format, "text", "json")
	for _, name := range slices.Sorted(maps.Keys(cfg.Listeners)) {
		c.listener("listeners."+name, cfg.Listeners[name])
	}
	c.limits()
	c.calls()
	c.topics()
	c.mesh()
	c.policy("permissions.")
	c.login()
	c.content()
	for i, m := range cfg.Middleware {
		c.middleware("middleware["+strconv.Itoa(i)+"]", m)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Services)) {
		c.service("services."+name, name, cfg.Services[name].Kind)
	}
	if len(c.list) == 0 {
		return nil
	}
	return &config.Error{Problems: c.list}
}

// add notes that the value at path is wrong.
func (c *checker) add(path, text, hint string) {
	p := config.Problem{File: c.report.Origin(path), Path: path, Message: text, Hint: hint}
	if m := placeInFile.FindStringSubmatch(p.File); m != nil {
		p.File = m[1]
		p.Line, _ = strconv.Atoi(m[2])
		p.Column, _ = strconv.Atoi(m[3])
	}
	c.list = append(c.list, p)
}

// fault notes an error of another package, if there is one.
func (c *checker) fault(path string, err error) {
	if err != nil {
		e := message.AsError(err)
		c.add(path, e.Message, e.Hint)
	}
}

// oneOf notes a word that is none of those known; none at all is the default.
func (c *checker) oneOf(path, word string, known ...string) {
	if word != "" && !slices.Contains(known, word) {
		c.add(path, fmt.Sprintf("%q is none of %s", word, strings.Join(known, ", ")), "")
	}
}

func (c *checker) listener(path string, l ropewalk.Listener) {
	_, port, err := net.SplitHostPort(l.Address)
	switch n, portErr := strconv.ParseUint(port, 10, 16); {
	case err != nil:
		c.add(path+".address", fmt.Sprintf("%q is not HOST:PORT", l.Address), "Write it like 127.0.0.1:7420; port 0 takes a free one.")
	case portErr != nil || n > 65535:
		c.add(path+".address", fmt.Sprintf("%q is no port", port), "Ports are numbers from 0 to 65535; 0 takes a free one.")
	}
	if _, ok := edge.ParseDriver(l.Driver); !ok {
		c.oneOf(path+".driver", l.Driver, "auto", "poller", "goroutine")
	}
	switch {
	case l.CertFile == "" && l.KeyFile == "":
	case l.CertFile == "" || l.KeyFile == "":
		c.add(path, "certFile and keyFile belong together", "Give both, or none for a listener without TLS.")
	default:
		if _, err := tls.LoadX509KeyPair(l.CertFile, l.KeyFile); err != nil {
			c.add(path+".certFile", "the certificate cannot be used: "+err.Error(), "Name two PEM files that belong together and that can be read.")
		}
	}
}

// limits notes those that are less than nothing, which would else be taken for
// the default.
func (c *checker) limits() {
	v := reflect.ValueOf(c.cfg.Limits)
	for field, value := range v.Fields() {
		if value.CanInt() && value.Int() < 0 {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			c.add("limits."+name, strconv.FormatInt(value.Int(), 10)+" is negative", "Leave it out for the default.")
		}
	}
}

func (c *checker) calls() {
	s := route.NewStrategies()
	if word := c.cfg.Calls.Strategy; word != "" {
		c.fault("calls.strategy", s.SetDefault(word))
	}
	for _, pattern := range slices.Sorted(maps.Keys(c.cfg.Calls.Routes)) {
		if err := s.SetRoute(pattern, c.cfg.Calls.Routes[pattern]); err != nil {
			e := message.AsError(err)
			c.add("calls.routes", pattern+": "+e.Message, e.Hint)
		}
	}
	for _, service := range slices.Sorted(maps.Keys(c.cfg.Calls.Versions)) {
		if err := s.SetWeights(service, c.cfg.Calls.Versions[service]); err != nil {
			e := message.AsError(err)
			c.add("calls.versions", service+": "+e.Message, e.Hint)
		}
	}
}

func (c *checker) middleware(path string, m ropewalk.Middleware) {
	stages := []string{
		string(route.StageInbound), string(route.StageCall), string(route.StageServe), string(route.StageDeliver), string(route.StageOutbound),
	}
	if m.Stage == "" {
		c.add(path, "stage is missing", "Use one of "+strings.Join(stages, ", ")+".")
	}
	c.oneOf(path+".stage", m.Stage, stages...)
	if m.Kind == route.KindTrace {
		return // whether there is a tracer, the node knows
	}
	raw, err := json.Marshal(m.Settings)
	if err == nil {
		_, err = middleware.New(m.Kind, m.Name, raw, middleware.Env{Logger: slog.New(slog.DiscardHandler)})
	}
	c.fault(path, err)
}

func (c *checker) service(path, name, kind string) {
	switch {
	case name == nodeapi.Name:
		c.add(path, "node is the service of the node itself", "Take another name.")
	case !serviceName.MatchString(name) || strings.HasPrefix(name, "http"):
		c.add(path, fmt.Sprintf("%q cannot be the name of a service", name), "Take one word of letters, digits, dots and dashes that does not begin with http.")
	}
	if kind != "echo" {
		c.add(path+".kind", fmt.Sprintf("there is no built-in service %q", kind), `There is "echo".`)
	}
}
