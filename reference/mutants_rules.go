package reference

// ruleMutants err in the authorization rules (room version 12, and what MSC4243 makes of them).
var ruleMutants = [...]Mutant{
	{"IgnoreTheAuthorisersSignature", "MSC4243-FORGE-42", "does not check whether the authoriser has signed a restricted join"},
	{"AcceptTheAuthorisersServer", "MSC4243-FORGE-43", "takes the signature of the authoriser's server for the authoriser's"},
	{"AcceptAnyAuthorisersKey", "MSC4243-FORGE-44", "takes any account key's signature for that of the authoriser"},
	{"AuthoriserNeedsNoPower", "MSC4243-FORGE-45", "lets members without the power to invite authorise restricted joins"},
	{"AuthoriserNeedNotBeJoined", "MSC4243-FORGE-45", "lets users who are not in the room authorise restricted joins"},
	{"CheckAuthorisersOfJoinsOnly", "MSC4243-FORGE-47", "checks the authoriser's signature of joins only, and of no other membership"},
	{"AcceptAuthoriserUnderFullUserID", "MSC4243-RJ-02", "looks for the authoriser's signature under the whole user ID, too"},
	{"AcceptAuthoriserUnderAnyKeyID", "MSC4243-RJ-02", "takes the authoriser's signature under any key ID"},
	{"LetBannedUsersJoin", "MSC4243-AUTH-04", "lets banned users join"},
	{"LetUninvitedUsersJoin", "RV12-JOIN-03", "lets users join rooms for the invited without an invite"},
	{"LetCreatorsBeBanned", "RV12-CREATOR-01", "lets anybody with a power level ban a creator"},
	{"LetAnybodyKnock", "RV12-KNOCK-01", "lets users knock whatever the join rule is"},
	{"IgnoreFederate", "MSC4243-AUTH-05", "does not look at m.federate"},
	{"IgnoreRequiredPower", "RV12-REJECT-01", "does not compare power levels with what an event takes"},
	{"IgnoreTheOwnerOfAStateKey", "MSC4243-FORGE-57", "lets users set state under the user IDs of others"},
	{"CompareOwnersByKeyAlone", "MSC4243-FORGE-57", "compares the owner of a state key with the sender by the key, without the domain"},
	{"LetOutsidersSend", "MSC4243-FORGE-23", "does not ask whether the sender is in the room"},
	{"LetCreatorsBeListed", "MSC4243-AUTH-03", "accepts power levels that list a creator"},
	{"ForgetAdditionalCreators", "MSC4243-AUTH-02", "gives additional creators no power"},
	{"LetUsersRaiseThemselves", "MSC4243-FORGE-56", "lets users raise their own power level above what they have"},
}
