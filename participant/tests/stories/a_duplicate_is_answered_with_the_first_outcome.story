# The same id again is answered with its first outcome, also after a restart and from a checkpoint
shard 1
txn t1: 1 alice =5
txn t2: 1 bob -5 if >= 5

> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
# In flight, the duplicate joins: it is told when the first is.
> single t1 from c2
> single t2 from c1
< read io1: bob
> rows io1
+ 2 Close t2 of 1: condition 0 on bob found null
> durable
< flush io2: alice = 5 @1
< c1: t1 committed at @0 by 1.1
< c2: t1 committed at @0 by 1.1
< c1: t2 closed: condition 0 on bob found null
> single t1 from c3
< c3: t1 committed at @0 by 1.1
> restart
+ 0 Epoch 2
< leading in epoch 2
< flush io1: alice = 5 @1
> single t1 from c4
< c4: t1 committed at @0 by 1.1
> single t2 from c4
< c4: t2 closed: condition 0 on bob found null
> checkpoint soon
> wait 10 ms
< sync io2
> synced io2
+ 1 Checkpoint chunk 0, the last
> durable
< checkpointed at p5, trim below p0
> restart from hint
+ 0 Epoch 3
< leading in epoch 3
< flush io1: alice = 5 @1
> single t1 from c5
< c5: t1 committed at @0 by 1.1
> single t2 from c5
< c5: t2 closed: condition 0 on bob found null
