import * as React from 'react';

import { LoopForm } from './loopform';

/** The form of what can be changed of a loop that is there. */
export class SettingsForm extends LoopForm {
  protected render(): React.ReactElement {
    return (
      <>
        {this.titleField()}
        {this.vaultField()}
        {this.advancedFields()}
        {this.outcome(this.trans.__('Changing the loop…'))}
      </>
    );
  }
}
