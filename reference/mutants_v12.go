package reference

// v12Mutants err in what any homeserver with room version 12 does.
var v12Mutants = [...]Mutant{
	{"V12DropMessages", "RV12-MSG-02", "drops the messages of other servers"},
	{"V12DropTopics", "RV12-STATE-01", "drops topics that other servers set"},
	{"V12DropLeaves", "RV12-LEAVE-01", "drops leaves that other servers send"},
	{"V12ServeNoState", "RV12-STATE-02", "does not answer /state and /state_ids"},
	{"NeverAskForHistory", "RV12-BACKFILL-02", "never asks other servers for the history before its join"},
	{"NeverAskForMissingEvents", "RV12-MISSING-01", "never asks for the events between what it has and what it is sent"},
	{"LeaveTheAuthChainOut", "RV12-JOIN-01", "answers send_join without the auth chain"},
	{"InviteWithoutRoomState", "RV12-INVITE-01", "sends invites without the state of the room"},
	{"ForgetWhereARoomEndsAtRestart", "RV12-RESTART-01", "builds on the create event after a restart"},
}
