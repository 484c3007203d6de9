package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

type order struct {
	ID    string `path:"id"`
	Page  int    `query:"page"`
	Items []struct {
		Price int `json:"price" jsonschema:"minimum=0"`
	} `json:"items"`
}

func TestTyped(t *testing.T) {
	t.Parallel()
	s := service.New("shop")
	s.Handle("/mul", service.Handle(func(_ context.Context, in struct{ A, B float64 }) (float64, error) { return in.A * in.B, nil }))
	s.Handle("/order/{id}", service.Handle(func(_ context.Context, in order) (any, error) {
		return map[string]any{"id": in.ID, "page": in.Page, "n": len(in.Items)}, nil
	}))
	s.Handle("/up", service.Handle(func(_ context.Context, in string) (string, error) { return strings.ToUpper(in), nil }))
	s.Handle("/raw", service.Handle(func(_ context.Context, in route.Body) (route.Body, error) { return in, nil }))
	s.Handle("/json", service.Handle(func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil }))
	s.Handle("/code", service.Handle(func(context.Context, struct{}) (int, error) {
		return 0, message.NewError(message.CodeConflict, "taken", "")
	}))
	s.Handle("/secret", service.Handle(func(context.Context, struct{}) (int, error) { return 0, errors.New("password is hunter2") }))
	s.Handle("/chan", service.Handle(func(context.Context, struct{}) (any, error) { return make(chan int), nil }))
	s.Handle("/peer", service.Handle(func(ctx context.Context, _ struct{}) (string, error) {
		return string(service.FromContext(ctx).Message.Mid), nil
	}))
	for _, c := range []struct {
		name, pattern, address, body, cty string
		reply                             string
		code                              message.Code
		path                              string
	}{
		{"ok", "/mul", "shop:/mul", `{"A":2,"B":2.5}`, "", `5`, "", ""},
		{"from address and body", "/order/{id}", "shop:/order/x7?page=3", `{"items":[{"price":1}]}`, "", `{"id":"x7","n":1,"page":3}`, "", ""},
		{"no body", "/up", "shop:/up", ``, "", `""`, "", ""},
		{"html is not escaped", "/up", "shop:/up", `"<a>"`, "", `"<A>"`, "", ""},
		{"raw", "/raw", "shop:/raw", "\x00\x01", "image/png", "\x00\x01", "", ""},
		{"raw JSON", "/json", "shop:/json", `{"a": [1]}`, "application/json; charset=utf-8", `{"a":[1]}`, "", ""},
		{"request", "/peer", "shop:/peer", ``, "", `"m1"`, "", ""},
		{"missing field", "/mul", "shop:/mul", `{"A":2}`, "", "", message.CodeInvalidInput, "/B"},
		{"missing body", "/mul", "shop:/mul", ``, "", "", message.CodeInvalidInput, "/A"},
		{"bad field", "/order/{id}", "shop:/order/x7", `{"items":[{"price":1},{"price":-1}]}`, "", "", message.CodeInvalidInput, "/items/1/price"},
		{"other case", "/order/{id}", "shop:/order/x7", `{"items":[{"price":1,"Price":-1}]}`, "", "", message.CodeInvalidInput, "/items/0/Price"},
		{"bad query", "/order/{id}", "shop:/order/x7?page=x", `{"items":[]}`, "", "", message.CodeInvalidInput, "?page"},
		{"query twice", "/order/{id}", "shop:/order/x7?page=1&page=2", `{"items":[]}`, "", "", message.CodeInvalidInput, "?page"},
		{"address field in the body", "/order/{id}", "shop:/order/x7", `{"items":[],"Page":9,"ID":"evil"}`, "", `{"id":"x7","n":0,"page":0}`, "", ""},
		{"not JSON", "/up", "shop:/up", `"x`, "", "", message.CodeInvalidInput, ""},
		{"another content type", "/up", "shop:/up", `x`, "text/plain", "", message.CodeInvalidInput, ""},
		{"own code", "/code", "shop:/code", ``, "", "", message.CodeConflict, ""},
		{"foreign error", "/secret", "shop:/secret", ``, "", "", message.CodeInternal, ""},
		{"answer without JSON", "/chan", "shop:/chan", ``, "", "", message.CodeInternal, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := newCall(c.address, c.body)
			if c.cty != "" {
				in.req.Message.ContentType = []byte(c.cty)
			}
			got := run(t, s, c.pattern, in)
			if got.code() != c.code {
				t.Fatalf("error %v, want code %q", got.err, c.code)
			}
			if c.code != "" {
				if got.err.Path != c.path {
					t.Errorf("path %q, want %q (%v)", got.err.Path, c.path, got.err)
				}
				if strings.Contains(got.err.Message+got.err.Hint, "hunter2") {
					t.Error("the text of a foreign error reached the caller")
				}
				return
			}
			if string(got.reply.Bytes) != c.reply {
				t.Errorf("reply %s, want %s", got.reply.Bytes, c.reply)
			}
		})
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	s := service.New("report")
	s.Handle("/long", service.Stream(func(_ context.Context, in struct{ N int }, send func(map[string]int) error) (string, error) {
		for i := range in.N {
			if err := send(map[string]int{"step": i + 1}); err != nil {
				return "", err
			}
		}
		return "done", nil
	}))
	c := run(t, s, "/long", newCall("report:/long", `{"N":2}`))
	if want := []string{`{"step":1}`, `{"step":2}`}; !slices.Equal(c.parts, want) || string(c.reply.Bytes) != `"done"` {
		t.Fatalf("parts %v, reply %s", c.parts, c.reply.Bytes)
	}
}

func TestAddressFields(t *testing.T) {
	t.Parallel()
	type common struct {
		Verbose bool `query:"v"`
	}
	type input struct {
		common

		Rest  string        `path:"**"`
		Tags  []string      `query:"tag"`
		IDs   []uint8       `query:"id"`
		Max   *float64      `query:"max"`
		None  *float64      `query:"none"`
		Wait  time.Duration `query:"wait"`
		IP    netip.Addr    `query:"ip"`
		Both  int           `json:"both,omitempty" query:"both"`
		Small int8          `query:"small"`
	}
	var got input
	s := service.New("s")
	s.Handle("/f/**", service.Handle(func(_ context.Context, in input) (int, error) { got = in; return 0, nil }))
	c := newCall("s:/f/a/b?tag=x&tag=&id=1&id=255&max=1.5&wait=1m30s&ip=10.0.0.1&v&both=2&%74ag=no&&", `{"both":1,"Tags":["evil"]}`)
	if run(t, s, "/f/**", c); c.err != nil {
		t.Fatal(c.err)
	}
	half := 1.5
	want := input{
		common: common{Verbose: true}, Rest: "a/b", Tags: []string{"x", ""}, IDs: []uint8{1, 255}, Max: &half,
		Wait: 90 * time.Second, IP: netip.MustParseAddr("10.0.0.1"), Both: 2,
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
	for query, path := range map[string]string{
		"id=256": "?id", "small=-129": "?small", "max=NaN": "?max", "max=1e999": "?max", "wait=3": "?wait", "ip=x": "?ip", "v=maybe": "?v",
	} {
		c := run(t, s, "/f/**", newCall("s:/f/a?"+query, ""))
		if c.code() != message.CodeInvalidInput || c.err.Path != path {
			t.Errorf("%s: %v", query, c.err)
		}
	}
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	s := service.New("math", service.WithVersion("1"), service.WithDescription("sums"), service.WithMetadata(json.RawMessage(`{"team":"a"}`)))
	s.Handle("/typed", service.Handle(func(context.Context, struct{ A int }) (string, error) { return "", nil }), service.WithVersion("2"))
	s.Handle("/raw", answer("1"), service.WithSchemas(json.RawMessage(`{"type":"object","required":["a"]}`), nil), service.WithIdempotent())
	s.Handle("/body", service.Handle(func(_ context.Context, b route.Body) (route.Body, error) { return b, nil }))
	routes := s.Routes()
	if in, out := string(routes[0].Info.In), string(routes[0].Info.Out); out != `{"type":"string"}` ||
		in != `{"type":"object","properties":{"A":{"type":"integer"}},"required":["A"]}` {
		t.Errorf("schemas %s and %s", in, out)
	}
	if routes[0].Info.Idempotent || !routes[1].Info.Idempotent {
		t.Error("the wrong path is idempotent")
	}
	all := service.New("all", service.WithIdempotent())
	all.Handle("/", answer("1"))
	if !all.Routes()[0].Info.Idempotent {
		t.Error("the paths of an idempotent service are not")
	}
	if i := routes[0].Info; i.Version != "2" || i.Description != "sums" || string(i.Metadata) != `{"team":"a"}` {
		t.Errorf("info %+v", i)
	}
	if i := routes[2].Info; i.In != nil || i.Out != nil {
		t.Errorf("a route.Body has a schema: %s %s", i.In, i.Out)
	}
	if c := run(t, s, "/raw", newCall("math:/raw", `{}`)); c.code() != message.CodeInvalidInput || c.err.Path != "/a" {
		t.Errorf("input of a plain handler was not checked: %v", c.err)
	}
	if c := run(t, s, "/raw", newCall("math:/raw", `{"a":1}`)); c.err != nil {
		t.Error(c.err)
	}
}
