package reference

// v12Mutants err in what any homeserver with room version 12 does.
var v12Mutants = [...]Mutant{
	{"V12DropMessages", "RV12-MSG-02", "drops the messages of other servers"},
	{"V12DropNames", "RV12-STATE-01", "drops names of rooms that other servers set"},
	{"V12DropLeaves", "RV12-LEAVE-01", "drops leaves that other servers send"},
	{"V12ServeNoState", "RV12-STATE-02", "does not answer /state and /state_ids"},
	{"NeverAskForHistory", "RV12-BACKFILL-02", "never asks other servers for the history before its join"},
	{"InviteWithoutRoomState", "RV12-INVITE-01", "sends invites without the state of the room"},
	{"LoseRoomsAtRestart", "RV12-RESTART-01", "forgets at a restart which rooms it is in"},
}
