# At level APPLIED the client is answered when every participant has said so
txn t1: 1 alice -5; 2 bob +5

> submit t1 as call 1 applied
< s1 to 1: prepare t1 #1 in epoch 1 with the whole
< s1 to 2: prepare t1 #1 in epoch 1
> s1 from 1: t1 #1 yes at @8
> s1 from 2: t1 #1 yes at @16
< s1 to 1: commit t1 #1 at @16 applied
< s1 to 2: commit t1 #1 at @16 applied
> s1 from 1: t1 applied
> wait 600 ms
< s1 to 2: await t1
> s1 from 2: t1 applied
< call 1: committed at @16, home 1 logged it as 1.0, applied
