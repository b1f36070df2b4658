package deploy

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// environMap turns the form of os.Environ into a map; the last entry of a name counts.
func environMap(environ []string) map[string]string {
	values := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			values[name] = value
		}
	}
	return values
}

// readTagged fills the fields of a struct from their `env` and `default` tags. A name that ends in
// "*" fills a map with one entry per variable that begins so; its keys are in lower case.
func readTagged(into any, values map[string]string) error {
	v := reflect.ValueOf(into).Elem()
	for field, value := range v.Fields() {
		name := field.Tag.Get("env")
		if name == "" {
			continue
		}
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			value.Set(reflect.ValueOf(withPrefix(values, prefix)))
			continue
		}
		text := values[name]
		if text == "" {
			text = field.Tag.Get("default")
		}
		if text == "" {
			continue
		}
		if err := setValue(value, name, text); err != nil {
			return Usagef("the environment variable %s: %w", name, err)
		}
	}
	return nil
}

func withPrefix(values map[string]string, prefix string) map[string]string {
	found := map[string]string{}
	for name, value := range values {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && value != "" {
			found[strings.ToLower(rest)] = value
		}
	}
	return found
}

func setValue(v reflect.Value, name, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch field := v.Addr().Interface().(type) {
	case *string:
		*field = text
	case *float64:
		number, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		*field = number
	case *int:
		number, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		*field = number
	case *time.Duration:
		seconds, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a whole number of seconds", text)
		}
		*field = time.Duration(seconds) * time.Second
	case *bool:
		// Complement takes 1 for true and everything else for false; our own variables are
		// pickier, because a misspelt "yes" should not silently mean no.
		on, err := strconv.ParseBool(text)
		if err != nil && !strings.HasPrefix(name, "COMPLEMENT_") {
			return fmt.Errorf("%q is neither 1 nor 0", text)
		}
		*field = on && err == nil
		if strings.HasPrefix(name, "COMPLEMENT_") {
			*field = text == "1"
		}
	default:
		return fmt.Errorf("a field of type %s cannot be read from the environment", v.Type())
	}
	return nil
}
