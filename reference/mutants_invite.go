package reference

// inviteMutants err about invites and bans (MSC4243, "Proposal" and "Pre-emptive bans").
var inviteMutants = [...]Mutant{
	{"WantTheServersSignature", "MSC4243-INV-05", "wants the inviter's server to have signed the event in the request"},
	{"ReturnTheAccountName", "MSC4243-INV-02", "returns invites with the account name in the state key"},
	{"ReturnInvitesUnsigned", "MSC4243-INV-02", "puts the invitee's key in but does not sign"},
	{"SignInvitesWithTheServerKey", "MSC4243-INV-02", "signs the invites of its users with the server's key"},
	{"KeepTheHashesOfInvites", "MSC4243-INV-03", "does not compute the content hash anew when it has replaced the state key"},
	{"OmitTheInvitersSignature", "MSC4243-INV-04", "sends invites as they come back, without the inviter's signature"},
	{"OmitTheLocalInviteesSignature", "MSC4243-INV-22", "lets the inviter alone sign an invite of a local user"},
	{"SignWhateverComesBackFromAnInvite", "MSC4243-INV-07", "signs what comes back from an invite without comparing it with what it has sent"},
	{"TakeInviteesOfOtherDomains", "MSC4243-INV-08", "takes any domain in the state key that comes back"},
	{"TakeReturnedAccountNames", "MSC4243-INV-08", "takes an account name in the state key that comes back"},
	{"TakeUnsignedInvitees", "MSC4243-INV-09", "does not check the invitee's signature"},
	{"SkipTheRulesForReturnedKeys", "MSC4243-INV-10", "does not apply the rules to the key that comes back"},
	{"SignForNobody", "MSC4243-INV-13", "signs invites of names that it has no account for"},
	{"SignOthersThanInvites", "MSC4243-INV-14", "signs any membership at the endpoint for invites"},
	{"SignForUsersOfOtherServers", "MSC4243-INV-14", "signs invites whose sender is not of the requesting server"},
	{"NeverLimitGuesses", "MSC4243-INV-15", "lets servers try out any number of account names with invites"},
	{"NeverLimitGuessesOfBans", "MSC4243-BAN-09", "lets servers try out any number of account names with bans"},
	{"AcceptInvitesWithoutCreateEvent", "MSC4243-INV-18", "accepts invites whose room state lacks the create event"},
	{"RejectInvitesHereOnly", "MSC4243-INV-19", "does not tell the room when a user rejects an invite"},
	{"AnswerTheFirstInviteEndpoint", "MSC4243-INV-20", "answers the first version of the invite endpoint"},
	{"FallBackToTheFirstInviteEndpoint", "MSC4243-INV-20", "tries the first version of the invite endpoint when the second fails"},
	{"BanKnownKeysOnly", "MSC4243-BAN-01", "bans nobody whose key it does not know"},
	{"HelpWithNoBans", "MSC4243-BAN-03", "does not answer the endpoint for bans"},
	{"ReturnBansUnsigned", "MSC4243-BAN-03", "puts the key in but does not sign bans"},
	{"SignOthersThanBans", "MSC4243-BAN-04", "signs any membership at the endpoint for bans"},
	{"AskForKnownKeysOnBans", "MSC4243-BAN-05", "asks the server of a user for a key that it knows"},
	{"BanAccountNames", "MSC4243-BAN-06", "bans the account name when the user's server does not help"},
	{"SignWhateverComesBackFromABan", "MSC4243-BAN-07", "signs what comes back from a ban without comparing it with what it has sent"},
	{"IgnoreServerACLsForBans", "MSC4243-BAN-10", "does not apply the room's server ACL to the endpoint for bans"},
}

// joinMutants err about joins, knocks and leaves (MSC4243, "Impacts on restricted rooms"; server-server
// API, handshakes).
var joinMutants = [...]Mutant{
	{"SignAnyTemplate", "MSC4243-FORGE-54", "completes and signs whatever template it is given"},
	{"SignOrdinaryJoins", "MSC4243-SIG-11", "adds the server's signature to every join that is handed in"},
	{"SignTheStateAnew", "MSC4243-JOIN-08", "adds its own signature to the state that it gives to a joining server"},
	{"GrantJoinsWithoutPower", "MSC4243-RJ-04", "lets users authorise restricted joins who may not invite"},
	{"AuthoriseJoinsUnsigned", "MSC4243-RJ-01", "authorises restricted joins without signing them"},
	{"AuthoriseJoinsWithTheServerKey", "MSC4243-RJ-01", "authorises restricted joins with the server's signature"},
	{"IgnoreTheReturnedJoin", "MSC4243-RJ-03", "throws the authorised copy of its join away"},
	{"TrustTheReturnedJoin", "MSC4243-RJ-03", "does not check the signature on the join that comes back"},
	{"SkipLocalAuthorisersSignatures", "MSC4243-RJ-06", "does not have the authoriser sign a restricted join of a local user"},
	{"ShowRoomsFirst", "MSC4243-QC-03", "shows a joined room before it has asked for anybody's name"},
	{"NeverLookUpNewUsers", "MSC4243-QC-21", "does not ask for the names of those who join later"},
}
