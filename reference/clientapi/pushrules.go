package clientapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
)

// pushRule is a push rule (client-server API, "Push Rules").
type pushRule struct {
	RuleID     string          `json:"rule_id"`
	Default    bool            `json:"default"`
	Enabled    bool            `json:"enabled"`
	Pattern    string          `json:"pattern,omitempty"`
	Conditions []pushCondition `json:"conditions,omitempty"`
	Actions    []any           `json:"actions"`
}

// pushCondition is one condition of a push rule.
type pushCondition struct {
	Kind    string          `json:"kind"`
	Key     string          `json:"key,omitempty"`
	Pattern *string         `json:"pattern,omitempty"`
	Is      string          `json:"is,omitempty"`
	Value   json.RawMessage `json:"value,omitempty"`
}

// ruleset are a user's push rules by kind.
type ruleset struct {
	Override  []pushRule `json:"override"`
	Content   []pushRule `json:"content"`
	Room      []pushRule `json:"room"`
	Sender    []pushRule `json:"sender"`
	Underride []pushRule `json:"underride"`
}

// kind returns the rules of a kind, nil when there is no such kind.
func (s *ruleset) kind(name string) *[]pushRule {
	switch name {
	case "override":
		return &s.Override
	case "content":
		return &s.Content
	case "room":
		return &s.Room
	case "sender":
		return &s.Sender
	case "underride":
		return &s.Underride
	}
	return nil
}

// pushRoutes are about push rules. Nothing is pushed: the rules decide what counts as unread.
func (a *API) pushRoutes() []route {
	return []route{
		authed(http.MethodGet, "/v3/pushrules/{$}", a.getPushRules),
		authed(http.MethodGet, "/v3/pushrules/global/{$}", a.getGlobalPushRules),
		authed(http.MethodGet, "/v3/pushrules/global/{kind}/{ruleID}", a.getPushRule),
		authed(http.MethodPut, "/v3/pushrules/global/{kind}/{ruleID}", a.putPushRule),
		authed(http.MethodDelete, "/v3/pushrules/global/{kind}/{ruleID}", a.deletePushRule),
		authed(http.MethodGet, "/v3/pushrules/global/{kind}/{ruleID}/{property}", a.getPushRuleProperty),
		authed(http.MethodPut, "/v3/pushrules/global/{kind}/{ruleID}/{property}", a.putPushRuleProperty),
		authed(http.MethodGet, "/v3/pushers", a.pushers),
		authed(http.MethodPost, "/v3/pushers/set", a.setPusher),
		authed(http.MethodGet, "/v3/notifications", a.notifications),
	}
}

// rules returns a user's push rules, the predefined ones when the user has changed nothing.
func (a *API) rules(user matrix.UserID) (*ruleset, error) {
	content, err := a.users.AccountData(user, "", dataPushRules)
	if errors.Is(err, userdb.ErrNotFound) {
		return defaultRules(user), nil
	}
	if err != nil {
		return nil, err
	}
	var stored struct {
		Global ruleset `json:"global"`
	}
	return &stored.Global, json.Unmarshal(content, &stored)
}

// pushRules is the account data that holds the push rules.
func (a *API) pushRules(user matrix.UserID) (any, error) {
	rules, err := a.rules(user)
	return map[string]any{"global": rules}, err
}

func (a *API) getPushRules(c *call) (any, error) { return a.pushRules(c.user()) }

func (a *API) getGlobalPushRules(c *call) (any, error) { return a.rules(c.user()) }

// findRule returns the rules of the kind in the path, and where the rule of the path is among them.
func findRule(c *call, rules *ruleset) (*[]pushRule, int, error) {
	kind := rules.kind(c.PathValue("kind"))
	if kind == nil {
		return nil, 0, peer.InvalidParam("there is no kind of push rule called %q", c.PathValue("kind"))
	}
	i := slices.IndexFunc(*kind, func(r pushRule) bool { return r.RuleID == c.PathValue("ruleID") })
	return kind, i, nil
}

// existingRule is findRule for a rule that must exist.
func existingRule(c *call, rules *ruleset) (*[]pushRule, int, error) {
	kind, i, err := findRule(c, rules)
	if err == nil && i < 0 {
		err = peer.NotFound("there is no push rule %s/%s", c.PathValue("kind"), c.PathValue("ruleID"))
	}
	return kind, i, err
}

func (a *API) getPushRule(c *call) (any, error) {
	rules, err := a.rules(c.user())
	if err != nil {
		return nil, err
	}
	kind, i, err := existingRule(c, rules)
	if err != nil {
		return nil, err
	}
	return (*kind)[i], nil
}

// changeRules reads, changes and stores a user's push rules.
func (a *API) changeRules(c *call, change func(*ruleset) error) (any, error) {
	rules, err := a.rules(c.user())
	if err != nil {
		return nil, err
	}
	if err := change(rules); err != nil {
		return nil, err
	}
	return a.setAccountData(c.user(), "", dataPushRules, mustJSON(map[string]any{"global": rules}))
}

func (a *API) putPushRule(c *call) (any, error) {
	var body struct {
		Actions    []any           `json:"actions"`
		Conditions []pushCondition `json:"conditions"`
		Pattern    string          `json:"pattern"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	id := c.PathValue("ruleID")
	if id == "" || id[0] == '.' {
		return nil, peer.InvalidParam("the push rule %q is the server's", id)
	}
	if body.Actions == nil {
		return nil, missingParam("actions")
	}
	return a.changeRules(c, func(rules *ruleset) error {
		kind, i, err := findRule(c, rules)
		if err != nil {
			return err
		}
		rule := pushRule{RuleID: id, Enabled: true, Pattern: body.Pattern, Conditions: body.Conditions, Actions: body.Actions}
		if i >= 0 {
			rule.Enabled = (*kind)[i].Enabled
			*kind = slices.Delete(*kind, i, i+1)
		}
		at, err := place(c, *kind)
		if err != nil {
			return err
		}
		*kind = slices.Insert(*kind, at, rule)
		return nil
	})
}

// place is where a new rule goes: where before or after says, otherwise first.
func place(c *call, rules []pushRule) (int, error) {
	for name, offset := range map[string]int{"before": 0, "after": 1} {
		if neighbour := c.query(name); neighbour != "" {
			i := slices.IndexFunc(rules, func(r pushRule) bool { return r.RuleID == neighbour })
			if i < 0 {
				return 0, peer.NotFound("there is no push rule %q", neighbour)
			}
			return i + offset, nil
		}
	}
	return 0, nil
}

func (a *API) deletePushRule(c *call) (any, error) {
	return a.changeRules(c, func(rules *ruleset) error {
		kind, i, err := existingRule(c, rules)
		if err != nil {
			return err
		}
		if (*kind)[i].Default {
			return peer.InvalidParam("the push rule %q is the server's", c.PathValue("ruleID"))
		}
		*kind = slices.Delete(*kind, i, i+1)
		return nil
	})
}

func (a *API) getPushRuleProperty(c *call) (any, error) {
	rules, err := a.rules(c.user())
	if err != nil {
		return nil, err
	}
	kind, i, err := existingRule(c, rules)
	if err != nil {
		return nil, err
	}
	switch c.PathValue("property") {
	case "enabled":
		return map[string]bool{"enabled": (*kind)[i].Enabled}, nil
	case "actions":
		return map[string]any{"actions": (*kind)[i].Actions}, nil
	}
	return nil, unrecognised(http.StatusNotFound)
}

func (a *API) putPushRuleProperty(c *call) (any, error) {
	var body struct {
		Enabled *bool  `json:"enabled"`
		Actions *[]any `json:"actions"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	return a.changeRules(c, func(rules *ruleset) error {
		kind, i, err := existingRule(c, rules)
		if err != nil {
			return err
		}
		switch property := c.PathValue("property"); {
		case property == "enabled" && body.Enabled != nil:
			(*kind)[i].Enabled = *body.Enabled
		case property == "actions" && body.Actions != nil:
			(*kind)[i].Actions = *body.Actions
		case property == "enabled", property == "actions":
			return missingParam(property)
		default:
			return unrecognised(http.StatusNotFound)
		}
		return nil
	})
}
