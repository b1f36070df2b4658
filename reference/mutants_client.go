package reference

// visibilityMutants err about what clients are shown of users who are unverified or erased (MSC4243,
// "Server behaviour").
var visibilityMutants = [...]Mutant{
	{"ShowHiddenMessages", "MSC4243-VIS-01", "shows clients the messages of users who are unverified"},
	{"ShowHiddenState", "MSC4243-VIS-02", "shows clients the state that users who are unverified have set"},
	{"ListHiddenMembers", "MSC4243-VIS-03", "lists users who are unverified among the members"},
	{"ShowStateAboutHiddenUsers", "MSC4243-VIS-05", "shows state about a user who is unverified under the key"},
	{"PushNoLateState", "MSC4243-VIS-06", "does not send the state of a user who becomes verified"},
	{"PushLateStateToAll", "MSC4243-VIS-07", "sends the state of a user who becomes verified to clients that take it for new"},
	{"SlideWithoutLateState", "MSC4243-VIS-08", "leaves the state of a user who becomes verified out of sliding sync"},
	{"PushOldMessages", "MSC4243-VIS-09", "sends old messages down /sync when their sender becomes verified"},
	{"EndPagesAtHiddenEvents", "MSC4243-VIS-11", "ends /messages where a hidden event stands"},
	{"CountHiddenEvents", "MSC4243-VIS-12", "counts hidden events as unread"},
	{"AggregateHiddenEvents", "MSC4243-VIS-13", "counts hidden events among the references to others"},
	{"IgnoreHiddenRedactions", "MSC4243-VIS-14", "does not carry out redactions by users who are unverified"},
	{"ServeNothingOfUnverifiedUsers", "MSC4243-VIS-19", "does not hand events of users who are unverified to other servers"},
	{"ShowInvitesOfHiddenUsers", "MSC4243-INV-17", "shows invites by users who are unverified"},
	{"KeepTheNamesOfErasedUsers", "MSC4243-ERASE-01", "closes an account that is to be erased, but does not erase it"},
	{"StayInRoomsWhenErased", "MSC4243-ERASE-21", "does not leave rooms when an account is erased"},
}

// translationMutants err where account keys become account names and back (MSC4243, "Gradual
// compatibility").
var translationMutants = [...]Mutant{
	{"ShowKeysAsSenders", "MSC4243-CS-01", "shows clients account key user IDs as senders"},
	{"ShowKeysInStateKeys", "MSC4243-CS-14", "shows clients account key user IDs as state keys of other state than memberships"},
	{"LeaveSenderAccountOut", "MSC4243-CS-03", "leaves sender_account out"},
	{"TellWholeUserIDsAsKeys", "MSC4243-CS-03", "has the whole user ID where the account key belongs"},
	{"CallUnverifiedUsersByTheirKeys", "MSC4243-CS-05", "has the account key user ID of unverified users in sender_account, as if they were verified"},
	{"LeaveTheNameOutOfSenderAccount", "MSC4243-CS-04", "leaves the user ID out of sender_account"},
	{"ShowKeysInPowerLevels", "MSC4243-CS-06", "does not translate power levels for clients"},
	{"WritePowerLevelsAsTheyAre", "MSC4243-CS-06", "translates power levels on reading but not on writing"},
	{"DropHiddenLevels", "MSC4243-CS-07", "drops the levels of hidden users when a client writes what it has read"},
	{"ShowKeysOfCreators", "MSC4243-CS-08", "does not translate additional creators for clients"},
	{"WriteCreatorsAsTheyAre", "MSC4243-CS-08", "writes additional creators as clients name them"},
	{"ShowKeysOfAuthorisers", "MSC4243-CS-09", "shows clients who has authorised a join by account key"},
	{"LeakKeysInPreviousContent", "MSC4243-CS-10", "does not translate prev_content"},
	{"LeakKeysInRedactedBecause", "MSC4243-CS-10", "does not translate the sender in redacted_because"},
	{"ListMembersByKey", "MSC4243-CS-11", "lists members by account key"},
	{"NameHeroesByKey", "MSC4243-CS-12", "names heroes by account key"},
	{"WriteStateKeysAsTheyAre", "MSC4243-CS-14", "does not translate a client's own state keys"},
	{"HashMembersAsTheyAreShown", "MSC4243-CS-15", "computes the event IDs in lists of members from what it shows, not from the PDU"},
	{"TranslateAccountData", "MSC4243-CS-24", "writes account keys over the user IDs in the account data of rooms"},
	{"CallRoomsByTheirCreators", "MSC4243-CS-26", "calls rooms without a name by the account key of their creator in the directory"},
	{"IgnoreKeysOnly", "MSC4243-CS-17", "does not match ignored users, who are named by account name"},
	{"LetIgnoredUsersInvite", "MSC4243-CS-17", "shows invites by ignored users"},
	{"LoadNobodyLazily", "MSC4243-CS-18", "leaves the senders out that a client loads lazily"},
	{"GroupSearchByKey", "MSC4243-CS-19", "groups search results by account key"},
	{"ApplyPushRulesToKeys", "MSC4243-CS-20", "compares push rules about senders with account keys"},
	{"PushKeys", "MSC4243-CS-20", "tells push gateways account keys as senders"},
	{"ListKeysInTheUserDirectory", "MSC4243-CS-21", "lists account keys in the user directory"},
	{"MatchNamespacesWithKeys", "MSC4243-CS-29", "compares the namespaces of application services with account keys"},
	{"NameSendersInOtherVersions", "MSC4243-CS-31", "has sender_account in rooms without account keys"},
	{"LeakKeysInStrippedState", "MSC4243-INV-16", "does not translate the stripped state of invites"},
}

// ephemeralMutants err about devices and ephemeral events (MSC4243, "Impacts on end-to-end encryption").
var ephemeralMutants = [...]Mutant{
	{"ServeNoDevices", "MSC4243-E2EE-02", "does not serve the devices of its users by account name"},
	{"IgnoreDeviceUpdates", "MSC4243-E2EE-05", "does not tell clients when the devices of another server's user change"},
	{"UpdateDevicesByKey", "MSC4243-E2EE-06", "names its users by account key in device updates"},
	{"DropToDeviceMessages", "MSC4243-E2EE-07", "drops messages between devices that name users by account name"},
	{"TrackNobodyLate", "MSC4243-E2EE-08", "does not tell clients to track the devices of a user who becomes verified"},
	{"ShowKeysInEphemeralEvents", "MSC4243-EDU-01", "shows clients who types by account key"},
	{"TakeEphemeralEventsForAnyDomain", "MSC4243-EDU-04", "takes ephemeral events about users of other domains than the sending one"},
	{"TakeEphemeralEventsOfOutsiders", "MSC4243-EDU-04", "takes ephemeral events about users who are not in the room"},
}

// serverMutants err about other servers: what they are asked, answered, sent and forgiven.
var serverMutants = [...]Mutant{
	{"TrustRequests", "MSC4243-QA-01", "does not check the signatures of requests"},
	{"AnswerAnonymousRequests", "MSC4243-QA-01", "answers requests that are not signed"},
	{"AnswerOtherMethodsWithNotFound", "MSC4243-QA-20", "answers unknown methods with M_NOT_FOUND"},
	{"NeverBackOff", "MSC4243-DOS-02", "does not leave servers alone that do not answer"},
	{"IgnoreServerACLs", "MSC4243-ACL-01", "does not apply server ACLs"},
	{"SendToTheCreatorsServerOnly", "MSC4243-ACL-03", "sends events to the server of the room's creator only"},
	{"LetAnybodyRedact", "MSC4243-AUTH-07", "carries out redactions by anybody"},
	{"KeepRedactedContent", "RV12-REDACT-01", "keeps the content of redacted events"},
	{"BackfillWithoutLimit", "RV12-BACKFILL-01", "answers /backfill beyond the limit"},
	{"ServeMissingEventsBeyondTheEarliest", "RV12-MISSING-02", "answers /get_missing_events with events before the earliest"},
}
