package phoenixd

import "net/http"

func (s *Server) getHealth(*call) answer { return inText(http.StatusOK, "OK") }

func (s *Server) getReady(*call) answer { return inJSON(http.StatusOK, struct{}{}) }

func (s *Server) getVersion(*call) answer { return inText(http.StatusOK, version) }

// getUser answers as a server without authentication does, whatever the token.
func (s *Server) getUser(*call) answer { return data(map[string]any{"auth_method": "ANONYMOUS"}) }
