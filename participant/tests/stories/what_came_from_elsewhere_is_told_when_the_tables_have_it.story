# What another region wrote earlier than what is here is told when the tables can tell what became of it
shard 1
txn t1: 1 alice =5
txn t2: 1 alice merge=4@-87
txn t3: 1 alice =6
store alice = 3 @-95

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
> durable
< flush io1: alice = 5 @1
< c1: t1 committed at @0 by 1.1
> flushed io1
> single t2 from c2
+ 2 CommitSingle t2 at @8: alice
> durable
< c2: t2 committed at @8 by 1.2
> read from c3: alice
< read io2: alice
> rows io2
> wait 10 ms
< read io3: alice
< flush io4: alice = 4 @-87
# Not applied yet when it was read.
> rows io3 as then
> flushed io4
> wait 10 ms
< read io5: alice
# That was asked for before, and does not count.
> rows io5
> wait 10 ms
< read io6: alice
> rows io6
< c3: rows in epoch 1 at 2: alice = 5 @1
# What is written next is later than both.
> single t3 from c4
+ 3 CommitSingle t3 at @30000: alice
> durable
< flush io7: alice = 6 @30001
< c4: t3 committed at @30000 by 1.3
