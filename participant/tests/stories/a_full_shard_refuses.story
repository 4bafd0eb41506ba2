# Beyond its bounds a shard refuses new work at once; what is known is answered all the same
shard 1
limit waiting 1
limit overlay 1
txn t1: 1 alice +1
txn t2: 1 bob =1
txn t3: 1 carol =1; 2 dave =1

> single t1 from c1
< read io1: alice
> single t2 from c2
< c2: overloaded
> prepare t3 #1 from c2
< c2: t3 #1 no, overloaded
> read from c3: bob
< c3: overloaded
> rows io1
+ 1 CommitSingle t1 at @0: alice
> durable
< flush io2: alice = 1 @1
< c1: t1 committed at @0 by 1.1
# Committed, not applied: there is no room either.
> single t2 from c2
< c2: overloaded
> single t1 from c4
< c4: t1 committed at @0 by 1.1
> flushed io2
> single t2 from c5
+ 2 CommitSingle t2 at @8: bob
