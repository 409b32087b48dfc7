package phoenixd

import (
	_ "embed"
	"net/http"
)

// openAPI is the part of Phoenix's own document that describes the routes served
// here. TestOpenAPI_IsTheRealOnesPart keeps it so and, with -update, writes it.
//
//go:embed openapi.json
var openAPI []byte

func (s *Server) getOpenAPI(*call) answer {
	return answer{status: http.StatusOK, kind: "application/json", body: openAPI}
}
