# A condition that fails closes the transaction: "aborted" is said once that is durable
shard 1
txn t1: 1 alice -5 if >= 5
txn t2: 1 alice =1 if exists
txn t3: 1 bob =1 if absent
store alice = 4 @-80

> single t1 from c1
< read io1: alice
> rows io1
+ 1 Close t1 of 1: condition 0 on alice found 4
> durable
< c1: t1 closed: condition 0 on alice found 4
# What was found is final, whatever the row holds later.
> single t2 from c2
+ 2 CommitSingle t2 at @0: alice
> single t1 from c1
> single t3 from c3
< read io2: bob
> rows io2
+ 3 CommitSingle t3 at @8: bob
> durable
< flush io3: alice = 1 @1
< c2: t2 committed at @0 by 1.2
< c1: t1 closed: condition 0 on alice found 4
< c3: t3 committed at @8 by 1.3
