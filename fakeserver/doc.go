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
// # Server keys
//
// In rooms of MSC4345 and MSC4348 a server is a key. A fake server holds any number of them: it mints one
// for every room that it takes part in ([Server.RoomKey]), others with [Server.MintServerKey], and is given
// more with [Server.HoldServerKey], be they stolen or shared with another fake server. [Room.UserID] is who a
// user is in a room; [Draft.Through] sends an event through another key than the room's.
//
//	room, err := srv.ParticipateAndJoin(ctx, "hs1", roomID, mallory,
//		func(ctx context.Context, p *fakeserver.Petition) error {
//			// A client of hs1 accepts p.ServerKey.Key().
//		})
//
// does what an honest server does: [Server.RequestParticipation], which is [Server.AskToParticipate],
// [Petition.Forge], [Petition.Submit] and [Petition.Finish]; [Server.WaitAcceptance]; and [Server.JoinRoom].
// In a room the admins among its users [Room.Accept] and [Room.Revoke], other keys are brought in with
// [Room.Ask] or [Room.Admit], and any key can [Room.RevokeSelf]. A room of this server's own accepts who asks
// when [Room.AcceptRequests] says so.
//
// What is sent to the room's peers goes to the unverified domains of its accepted servers that have users in
// it. /_matrix/key/v3/query is answered for every key that is held, honestly or as [KeyAnswers] lists it;
// [Server.QueryServerKeys] asks others.
//
// # Accounts that move
//
// [Server.Carry] gives a user of another fake server the same account, name and key, at this one. In rooms of
// MSC4348 joining again through the new server moves the account: [Server.JoinRoom] by the carried user, or
// [Room.Send] with the membership when the server is in the room. [Server.Relay] is an account of no server.
//
//	carried, err := other.Carry(mallory)
//	moved, err := other.JoinRoom(ctx, "hs1", roomID, carried) // other was accepted before
//
// An event is the same whoever has co-signed it: [Forged.CoSignedBy] makes copies that differ in that alone.
//
// # Forks
//
// [Room.Fork] begins a [Branch]: its events follow each other and cite what the state is on the branch. A branch
// is sent to whom the test chooses ([Branch.Send]); [Room.Merge] begins one that follows several, where the test
// says which events win, since this package resolves no state.
//
//	here, there := room.Fork(), room.Fork()
//	_, err = here.Add(admin, here.Revokes(key))
//	_, err = there.Add(mallory, fakeserver.Message("meanwhile"))
//	err = here.Send(ctx, "hs1")
//	err = there.Send(ctx, "hs2")
//
// # Forgeries
//
// A [Forgery] is a value whose zero is honest: [Room.Forge] builds the event that [Room.NewEvent] would
// build, with that one deviation. [Forgeries] is the table of them, by requirement, and [ForgeriesIn] that
// of rooms with participation, whose rows say which servers the cast needs ([NamedForgery.Parties]). A
// [DeliveryPath] brings the event to the other server, and says which forgeries cannot take it.
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
