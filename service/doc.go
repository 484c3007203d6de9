// Package service is how services are written: a [Service] with handlers,
// typed helpers ([Handle], [Stream]) that know their JSON Schemas, and the
// [Runner] that runs them.
//
//	s := service.New("math", service.WithVersion("1.0.0"))
//	s.Handle("/decimal/mul", service.Handle(func(ctx context.Context, in struct{ A, B float64 }) (float64, error) {
//		return in.A * in.B, nil
//	}))
//
// A service does not know whether a node has it compiled in or a client serves
// it over its connection.
//
// # The input of a typed handler
//
// Its fields come from the body, or by tag from the address:
//
//	type in struct {
//		ID   string   `path:"id"`          // {id} of the pattern
//		Rest string   `path:"**"`          // what ** matched
//		Page int      `query:"page"`       // …?page=3
//		Tags []string `query:"tag"`        // …?tag=a&tag=b
//		Name string   `json:"name"`        // of the body
//	}
//
// Fields from the address may be strings, numbers, booleans, [time.Duration]
// written as 1m30s, types with UnmarshalText, pointers to these (nil when it is
// not there), and for the query slices of them. A path parameter must be in the
// pattern; a query parameter that is not there leaves the zero value. Nothing
// is percent-decoded, as nowhere in an address: what may contain & or any byte
// belongs into the body. A query parameter without a value, as in ?all, is the
// text "", and true for a boolean.
//
// Such a field is not part of the body unless it has a name in a json tag too;
// then the address, if it has the parameter, wins over the body.
package service
