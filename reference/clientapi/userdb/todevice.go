package userdb

import (
	"encoding/json"

	"countersign/matrix"
	"countersign/reference/store"
)

// ToDevice is a message from device to device, on its way to one device.
type ToDevice struct {
	Type    string          `json:"type"`
	Sender  matrix.UserID   `json:"sender"`
	Content json.RawMessage `json:"content"`
}

// AllDevices as a device ID addresses every device of a user.
const AllDevices = "*"

// maxToDevice bounds the messages that wait for one device; further ones are dropped until the
// device has read some.
const maxToDevice = 10_000

// SendToDevice stores a message for a local user's device, or for every device the user has when
// device is AllDevices. Devices that do not exist get nothing.
func (db *DB) SendToDevice(user matrix.UserID, device string, message ToDevice) error {
	return db.store.Update(func(tx *store.Tx) error { return sendToDevice(tx, user, device, message) })
}

func sendToDevice(tx *store.Tx, user matrix.UserID, device string, message ToDevice) error {
	prefix := key(string(user))
	if device != AllDevices {
		prefix = key(string(user), device)
	}
	var queues [][]byte
	err := tableDevices.scan(tx, prefix, func(k, _ []byte) (bool, error) {
		queues = append(queues, append([]byte(nil), k...))
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, queue := range queues {
		waiting := 0
		err := tableToDevice.scan(tx, queue, func(_, _ []byte) (bool, error) {
			waiting++
			return waiting < maxToDevice, nil
		})
		if err != nil {
			return err
		}
		if waiting >= maxToDevice {
			continue
		}
		at, err := nextPosition(tx)
		if err != nil {
			return err
		}
		if err := tableToDevice.put(tx, append(queue, positionKey(at)...), message); err != nil {
			return err
		}
	}
	return nil
}

// ReceiveToDevice stores the messages of one m.direct_to_device EDU, keyed by user and device, once
// per origin and message ID.
func (db *DB) ReceiveToDevice(origin matrix.ServerName, messageID string, messages map[matrix.UserID]map[string]ToDevice) error {
	return db.store.Update(func(tx *store.Tx) error {
		k := key(string(origin), messageID)
		if tableInboundTxns.has(tx, k) {
			return nil
		}
		for user, devices := range messages {
			for device, message := range devices {
				if err := sendToDevice(tx, user, device, message); err != nil {
					return err
				}
			}
		}
		return tableInboundTxns.put(tx, k, true)
	})
}

// ToDeviceMessages returns up to limit messages for a device, oldest first, that were stored after
// since and no later than until. The position is where to go on: until, or, when there are more, the position of
// the last one returned.
func (db *DB) ToDeviceMessages(user matrix.UserID, device string, since, until Position, limit int) (messages []ToDevice, next Position, err error) {
	next = until
	err = db.store.View(func(tx *store.Tx) error {
		return tableToDevice.scan(tx, key(string(user), device), func(k, _ []byte) (bool, error) {
			at := keyPosition(k)
			if at <= since || at > until {
				return true, nil
			}
			if len(messages) == limit {
				return false, nil
			}
			var message ToDevice
			if err := tableToDevice.get(tx, k, &message); err != nil {
				return false, err
			}
			messages = append(messages, message)
			if len(messages) == limit {
				next = at
			}
			return true, nil
		})
	})
	return messages, next, err
}

// DeleteToDevice deletes the messages for a device up to a position, which the device has confirmed
// by asking for what follows.
func (db *DB) DeleteToDevice(user matrix.UserID, device string, upTo Position) error {
	var doomed [][]byte
	err := db.store.View(func(tx *store.Tx) error {
		return tableToDevice.scan(tx, key(string(user), device), func(k, _ []byte) (bool, error) {
			if keyPosition(k) > upTo {
				return false, nil
			}
			doomed = append(doomed, append([]byte(nil), k...))
			return true, nil
		})
	})
	if err != nil || len(doomed) == 0 {
		return err // most calls have nothing to delete, and no need of a write
	}
	return db.store.Update(func(tx *store.Tx) error {
		for _, k := range doomed {
			if err := tableToDevice.delete(tx, k); err != nil {
				return err
			}
		}
		return nil
	})
}
