// Package fakeserver is an in-process Matrix homeserver that other servers federate with over real
// TLS: honest by default, and able to commit any forgery that it is told to. It builds events, signs
// them, serves what it is asked for, and records everything. It holds no authorization rules and
// judges nothing; verdicts are the business of the tests.
//
//	srv, err := fakeserver.Start(fakeserver.Config{
//		Host:      "localhost", // the name under which the servers under test reach this process
//		Issue:     ca.Issue,    // certificates that they trust
//		Transport: transport,   // how this process reaches them
//	})
//	defer srv.Close()
//
//	mallory, err := srv.NewUser("mallory")
//	room, err := srv.JoinRoom(ctx, "hs1", roomID, mallory)
//
//	// An honest message, sent to every server in the room.
//	hello, err := room.Send(ctx, mallory, fakeserver.Message("hello"))
//
//	// The same message with one deviation, delivered without becoming part of our copy of the room.
//	forged, err := room.Forge(mallory, fakeserver.Message("hello"),
//		fakeserver.Forgery{SignatureEntity: "@{key}:{domain}"})
//	_, err = fakeserver.SendPath().Deliver(ctx, room, "hs1", forged)
//
//	// What does the other server hold? Data, not verdicts.
//	answer, err := srv.GetEvent(ctx, "hs1", forged.EventID)
//
//	// What did it send? Everything is in the transcript, and waiting is on a condition.
//	pdu, err := srv.WaitPDU(ctx, func(p fakeserver.PDU) bool { return p.Type() == "m.room.message" })
//	fmt.Println(srv.Transcript())
//
// # Users
//
// A [User] is an account name of this server together with an account key. In rooms of version 12 it
// acts under its account name and this server's key signs; in rooms with account keys (MSC4243) it
// acts under its account key, which signs. /query/accounts answers honestly for every user unless
// [User.AnswerWith] or [Server.AnswerAccounts] say otherwise; [AccountAnswers] is the table of what
// they can say.
//
// # Forgeries
//
// A [Forgery] is a value whose zero is honest: [Room.Forge] builds the event that [Room.NewEvent] would
// build, with that one deviation. [Forgeries] is the table of them, by requirement. A [DeliveryPath]
// brings the event to the other server, and says which forgeries cannot take it.
//
// # Rooms
//
// A [Room] is this server's copy of a room: one that it made ([Server.CreateRoom]), or one that it
// joined through another server ([Server.JoinRoom]). It keeps the events that it was told, in the
// order in which they came, and calls the latest event of each type and state key the state. That is
// what an honest server computes as long as nobody forks the room; where a test forks it, the test
// names the previous events itself.
//
// # Answers
//
// Every request is matched to an [Operation]. [Server.Override] replaces the answer of an operation,
// with the honest handler at hand, so that a test can delay, edit or refuse. A request that matches
// none is answered 404 M_UNRECOGNIZED. All of them are recorded.
package fakeserver
