package message

// Address is where a message goes or comes from:
//
//	[instance[-sub]@]name:[[METHOD]]/path[?query]
//
//	math:/decimal/mul        a path of the service math
//	*:/decimal/*             any service, one wildcard segment
//	9f3c@orders:[get]/v1/x   one instance, with an HTTP method
//	2945p8eigxz@client:/     one client
//
// The zero Address is not valid. Grammar: docs/reference/wire.md, "Addresses".
type Address struct {
	Instance string
	Sub      string
	Name     string // the service, or a scheme such as client, node
	Method   string // lower case, "" if none
	Path     string // without the query
	Query    string // without the question mark
}
