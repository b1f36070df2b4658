package reference

// accountMutants err about account keys and account names (MSC4243, "Server behaviour" and "Handling
// GDPR erasure").
var accountMutants = [...]Mutant{
	{"ForgetErasure", "MSC4243-SM-05", "lets an erased key be verified again"},
	{"TakeOverNewNames", "MSC4243-QC-16", "takes over another account name for a key that is verified"},
	{"EraseOnlyUnverifiedUsers", "MSC4243-SM-04", "does not let users who are verified be erased"},
	{"EraseOnlyVerifiedUsers", "MSC4243-SM-03", "ignores the erasure of users who are unverified"},
	{"BelieveUnsignedErasures", "MSC4243-SM-07", "believes erasures that the account key has not signed"},
	{"BelieveUnsignedNames", "MSC4243-QC-06", "believes account names that the account key has not signed"},
	{"BelieveAnyDomain", "MSC4243-QC-07", "does not look at the domain in an answer"},
	{"BelieveUnaskedNames", "MSC4243-QC-12", "believes names of keys that it has not asked for"},
	{"ReadAnyNumberOfErasures", "MSC4243-ERASE-17", "reads as many erasures at once as it is told"},
	{"ReadOnePageOfErasures", "MSC4243-ERASE-16", "does not follow has_more"},
}
