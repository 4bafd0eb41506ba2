# The same id with other content is told so, whatever became of the first
shard 1
txn t1: 1 alice =5
txn t1b reuses t1: 1 alice =6
txn t2: 1 bob =5; 2 carol =5
txn t2b reuses t2: 1 bob =6; 2 carol =5
txn t3: 1 dave +1
txn t3b reuses t3: 1 dave +2

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> single t1b from c2
> prepare t2 #1 from c1
+ 2 Prepare t2 #1 at @8: bob, with the part of 2
> prepare t2b #1b from c2
> open t2b from c3
> single t3 from c1
< read io1: dave
# While it waits for its row, too.
> single t3b from c2
> durable
< flush io2: alice = 5 @1
< c1: t1 committed at @0 by 1.1
< c2: t1 id reused
< c1: t2 #1 yes at @8
< c2: t2 #1b id reused
< c3: t2 id reused
< c2: t3 id reused
