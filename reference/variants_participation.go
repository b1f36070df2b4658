package reference

// participationVariants decide in another way where MSC4345 and MSC4348 leave the choice, or contradict
// themselves (D-32).
var participationVariants = [...]Variant{
	{"RevokeAcceptedServersOnly", "MSC4345-AUTH-08", "goes by the rule as it is written: a server that has only requested is not revoked"},
	{"RevokeWithEqualPower", "MSC4345-AUTH-09", "goes by the rule as it is written: equal power is enough to revoke"},
	{"AcceptServersUnasked", "MSC4345-AUTH-15", "goes by the rule as it is written: a server can be accepted that has never requested"},
	{"LetDomainsChange", "MSC4345-AUTH-16", "goes by the rules as they are written: who accepts a server may name another domain"},
	{"LetRevokedServersDecide", "MSC4345-AUTH-17", "goes by the rules as they are written: they do not ask whether the server of who decides is accepted"},
	{"LetOutsidersDecide", "MSC4345-AUTH-18", "goes by the rules as they are written: they do not ask whether who decides is joined"},
	{"LetServersBeRevokedAgain", "MSC4345-AUTH-25", "goes by the rule as it is written: whom an admin has revoked can be revoked again"},
	{"ResolveParticipationLast", "MSC4348-MIG-08", "does not resolve participation first, as the text does not call it a power event"},
	{"LetWaitingServersRejectInvitations", "MSC4345-FLOW-16", "lets servers that have only requested reject invitations for their users"},
	{"InviteUsersOfParticipantsOnly", "MSC4345-FLOW-15", "does not invite users of servers whose key it does not know (D-39)"},
	{"HandRequestsInAsWritten", "MSC4345-FLOW-11", "hands requests in as the heading has it: with GET, by user ID"},
	{"GiveReasons", "MSC4345-PART-07", "gives a reason with its requests"},
	{"PublishKeysAsUserIDsHaveThem", "MSC4345-KEYQ-02", "publishes its server keys in URL-safe base64"},
	{"RememberDomainsForever", "MSC4345-KEYQ-04", "does not ask again whose a key is that it has verified once"},
	{"TellOfThoseWhoHaveLeft", "MSC4348-ACCT-02", "goes on telling of accounts that have left, to servers in the rooms where they were"},
	{"AddFieldsToKeyAnswers", "MSC4345-KEYQ-01", "adds a field that nobody knows to answers to key queries"},
}
