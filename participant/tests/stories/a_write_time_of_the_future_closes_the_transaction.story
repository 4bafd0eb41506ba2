# A row written beyond the clock and its drift cannot be written over: the transaction is closed
shard 1
txn t1: 1 alice +1
txn t2: 1 bob +1
store alice = 1 @500016
store bob = 1 @400000

> single t1 from c1
< read io1: alice
> rows io1
+ 1 Close t1 of 1: alice is of the future
# Within the drift the next timestamp is above what is stored.
> single t2 from c2
< read io2: bob
> rows io2
+ 2 CommitSingle t2 at @400008: bob
> durable
< c1: t1 closed: alice is of the future
< flush io3: bob = 2 @400009
< c2: t2 committed at @400008 by 1.2
